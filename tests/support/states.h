// What tests of programs with states have in common, on any side.
#pragma once

#include "ir/builder.h"
#include "runtime/session.h"
#include "tools/driver/driver.h"

#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tintype::test {

using Floats = std::vector<float>;

inline Floats floats(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

inline Session session(const CompiledModel& m, std::shared_ptr<StateStore> store = nullptr) {
  Result<Session> s = Session::create(m.model, std::move(store));
  EXPECT_TRUE(s.ok()) << s.status().message();
  return std::move(s).value();
}

inline std::vector<Tensor> run(Session& s, const std::map<std::string, Tensor>& inputs) {
  Result<std::vector<Tensor>> r = s.run(inputs);
  EXPECT_TRUE(r.ok()) << r.status().message();
  return r.ok() ? r.value() : std::vector<Tensor>();
}

inline Floats state(const Session& s, const std::string& name) {
  return floats(s.states()->get(name).value());
}

/// sum += x
inline void accumulate(Graph& g, Builder& b) {
  Value* x = g.add_input("x", {DType::f32, {Dim(3)}});
  Value* s = g.add_state("sum", Tensor::zeros(DType::f32, {3}));
  Value* next = b.add(s, x);
  g.set_next(s, next);
  g.add_output("twice", b.add(next, next));
}

}  // namespace tintype::test
