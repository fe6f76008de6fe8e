// Ops with kernel definitions of their own, as plugins add them: every shape and type against the
// unscheduled definition and against numbers, under the generic schedule and under the op's own;
// and what definitions may get wrong.
#include "codegen/definitions.h"
#include "ir/custom_ops.h"
#include "ir/diagnostic.h"
#include "tests/support/programs.h"
#include "tools/driver/compare.h"
#include "tools/driver/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace tintype::test {
namespace {

using ::testing::HasSubstr;

std::vector<Halide::Var> vars(int rank) {
  std::vector<Halide::Var> list;
  for (int i = 0; i < rank; ++i) list.emplace_back("v" + std::to_string(i));
  return list;
}

// test::RunningSum(x): y[i] = x[0] + ... + x[i] along the last axis, times the attribute `filters`,
// which built-in ops do not have in their kernels' keys.
KernelFuncs define_running_sum(const KernelOperands& of) {
  const auto at = vars(of.elements[0].dimensions());
  const auto factor = static_cast<int>(of.node.attrs().integer("filters", 1));
  const Halide::RDom r(1, Halide::max(of.extents[0].back() - 1, 0));
  std::vector<Halide::Expr> here(at.begin(), at.end()), before = here;
  here[0] = r;
  before[0] = r - 1;
  Halide::Func sum("sum"), y("y");
  sum(at) = of.elements[0](at);
  sum(here) += sum(before);
  y(at) = sum(at) * Halide::cast(of.elements[0].type(), factor);
  return {{y}};
}

// test::Extremes(x): largest and smallest element of each row, without the last axis, and where the
// first largest one is.
void infer_extremes(InferContext& c) {
  Shape rows = c.type(0).shape;
  if (rows.empty()) c.fail("needs at least one axis");
  rows.pop_back();
  c.results[0] = c.results[1] = {c.type(0).dtype, rows};
  c.results[2] = {DType::i64, rows};
}

KernelFuncs define_extremes(const KernelOperands& of) {
  const Halide::Func& x = of.elements[0];
  const auto at = vars(x.dimensions() - 1);
  const Halide::RDom r(0, of.extents[0].back());
  std::vector<Halide::Expr> row = {r};
  row.insert(row.end(), at.begin(), at.end());
  Halide::Func largest("largest"), smallest("smallest"), place("place"), position("position");
  largest(at) = x.type().min();  // of finite ones
  largest(at) = Halide::max(largest(at), x(row));
  smallest(at) = x.type().max();
  smallest(at) = Halide::min(smallest(at), x(row));
  place(at) = of.extents[0].back();
  place(at) =
      Halide::min(place(at), Halide::select(x(row) == largest(at), Halide::Expr(r), place(at)));
  position(at) = Halide::cast<int64_t>(place(at));
  return {{largest, smallest, position}, {place}};
}

void schedule_extremes(const Node&, const KernelFuncs& funcs, int lanes) {
  for (const Halide::Func& f : {funcs.results[0], funcs.results[1]}) {
    Halide::Func result = f;
    if (result.dimensions() == 0) continue;
    const Halide::Var row = result.args()[0];
    result.update().vectorize(row, lanes, Halide::TailStrategy::GuardWithIf);
  }
  Halide::Func place = funcs.stages[0];
  place.compute_root();
}

// test::Histogram(x): how many elements of x fall into each of 8 parts of [-1, 1], as i32.
void infer_histogram(InferContext& c) { c.results[0] = {DType::i32, {Dim(8)}}; }

KernelFuncs define_histogram(const KernelOperands& of) {
  const Halide::RDom r(0, of.extents[0][1], 0, of.extents[0][0]);
  Halide::Func counts("counts");
  const Halide::Var bin("bin");
  counts(bin) = 0;
  const Halide::Expr at = Halide::cast<int>((of.elements[0](r.x, r.y) + 1.0f) * 4.0f);
  counts(Halide::clamp(at, 0, 7)) += 1;
  return {{counts}};
}

// test::Weigh(x, w?): x, or x w with a scalar w.
KernelFuncs define_weigh(const KernelOperands& of) {
  const auto at = vars(of.elements[0].dimensions());
  Halide::Func y("y");
  if (of.elements.size() > 1 && of.elements[1].defined())
    y(at) = of.elements[0](at) * of.elements[1](std::vector<Halide::Expr>{});
  else y(at) = of.elements[0](at);
  return {{y}};
}

// What definitions may get wrong.
KernelFuncs define_too_few(const KernelOperands&) { return {}; }
KernelFuncs define_other_type(const KernelOperands& of) {
  const auto at = vars(of.elements[0].dimensions());
  Halide::Func y("y");
  y(at) = Halide::cast<double>(of.elements[0](at));
  return {{y}};
}
KernelFuncs define_other_rank(const KernelOperands&) {
  Halide::Func y("y");
  y(Halide::Var("a")) = 0.0f;
  return {{y}};
}
KernelFuncs define_what_halide_refuses(const KernelOperands& of) {
  Halide::Func y("y");
  y(vars(2)) = of.elements[0](Halide::Expr(0));
  return {{y}};
}
KernelFuncs define_beyond(const KernelOperands& of) {
  Halide::Func y("y");
  const auto at = vars(2);
  y(at) = of.elements[0](at[0] + 1, at[1]);
  return {{y}};
}

constexpr AttrDef kFilters[] = {{"filters", AttrKind::integer}};

constexpr OpDef same_type(std::string_view name, int operands = 1) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = operands,
          .traits = kKernel,
          .infer = infer_like_first,
          .not_differentiable = "a test",
          .doc = "a test"};
}

constexpr OpDef kOps[] = {
    {.name = "test::RunningSum",
     .min_operands = 1,
     .max_operands = 1,
     .attrs = kFilters,
     .traits = kKernel,
     .infer = infer_like_first,
     .not_differentiable = "a test",
     .doc = "a test"},
    {.name = "test::Extremes",
     .min_operands = 1,
     .max_operands = 1,
     .min_results = 3,
     .max_results = 3,
     .traits = kKernel,
     .infer = infer_extremes,
     .not_differentiable = "a test",
     .doc = "a test"},
    {.name = "test::Histogram",
     .min_operands = 1,
     .max_operands = 1,
     .traits = kKernel,
     .infer = infer_histogram,
     .not_differentiable = "a test",
     .doc = "a test"},
    same_type("test::Weigh", 2),
    same_type("test::Undefined"),
    same_type("test::TooFew"),
    same_type("test::OtherType"),
    same_type("test::OtherRank"),
    same_type("test::Refused"),
    same_type("test::Beyond"),
};

void register_all() {
  register_ops(kOps);
  register_kernel("test::RunningSum", {.define = define_running_sum});
  register_kernel("test::Extremes", {.define = define_extremes, .schedule = schedule_extremes});
  register_kernel("test::Histogram", {.define = define_histogram});
  register_kernel("test::Weigh", {.define = define_weigh});
  register_kernel("test::TooFew", {.define = define_too_few});
  register_kernel("test::OtherType", {.define = define_other_type});
  register_kernel("test::OtherRank", {.define = define_other_rank});
  register_kernel("test::Refused", {.define = define_what_halide_refuses});
  register_kernel("test::Beyond", {.define = define_beyond});
}

CompiledModel compiled(const Make& make, bool reference) {
  register_all();
  CompileOptions options;
  options.reference = reference;
  return compile_graph(built(make), options);
}

/// Results, the same for scheduled and unscheduled definitions and for any number of threads.
std::vector<Tensor> results(const Make& make, const Dims& dims = {}) {
  const CompiledModel reference = compiled(make, true), fast = compiled(make, false);
  const std::vector<Tensor> inputs = inputs_of(fast.model.program(), dims);
  const auto want = reference.model.run(std::span<const Tensor>(inputs));
  const auto got = fast.model.run(std::span<const Tensor>(inputs));
  RunOptions single;
  single.threads = 1;
  const auto alone = fast.model.run(std::span<const Tensor>(inputs), single);
  EXPECT_TRUE(want.ok()) << want.status().message();
  EXPECT_TRUE(got.ok()) << got.status().message();
  if (!want.ok() || !got.ok() || !alone.ok()) return {};
  for (size_t i = 0; i < got.value().size(); ++i) {
    EXPECT_EQ(compare_tensors(got.value()[i], want.value()[i], 1e-5, 1e-6).message, "");
    EXPECT_EQ(std::memcmp(got.value()[i].data(), alone.value()[i].data(), got.value()[i].bytes()),
              0);
  }
  std::vector<Tensor> all = inputs;
  all.insert(all.end(), got.value().begin(), got.value().end());
  return all;
}

std::string mistake(const Make& make) {
  try {
    compiled(make, false);
  } catch (const Error& e) {
    return e.what();
  }
  return "no mistake";
}

Make one(const std::string& op, TensorType type) {
  return [=](Graph& g, Builder& b) {
    b.set_origins({"mine"});
    g.add_output("y", b.make(op, {g.add_input("x", type)}));
  };
}

TEST(AddedKernel, RunningSumsOfAnyShape) {
  for (const auto& [n, width] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 1}, {2, 7}, {5, 40}, {1, 300}}) {
    const auto all = results(
        [](Graph& g, Builder& b) {
          Value* x = g.add_input("x", {DType::f32, {Dim::symbol("N"), Dim::symbol("W")}});
          Value* y = b.make("test::RunningSum", {b.unary("relu", x)}, {{"filters", int64_t{3}}});
          g.add_output("y", b.with_scalar("add", y, 1.0));
        },
        {{"N", n}, {"W", width}});
    ASSERT_EQ(all.size(), 2u);
    for (int64_t row = 0; row < n; ++row) {
      float sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        const auto at = static_cast<size_t>(row * width + i);
        sum += std::max(all[0].values<float>()[at], 0.0f);
        EXPECT_NEAR(all[1].values<float>()[at], 3 * sum + 1, 1e-3);
      }
    }
  }
}

// Attributes of added ops are part of the code, whatever they are called.
TEST(AddedKernel, AttributesTellKernelsApart) {
  const auto all = results([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {2, 5}});
    g.add_output("a", b.make("test::RunningSum", {x}, {{"filters", int64_t{1}}}));
    g.add_output("b", b.make("test::RunningSum", {x}, {{"filters", int64_t{5}}}));
  });
  ASSERT_EQ(all.size(), 3u);
  for (size_t i = 0; i < 10; ++i)
    EXPECT_FLOAT_EQ(all[2].values<float>()[i], 5 * all[1].values<float>()[i]);
}

TEST(AddedKernel, SeveralResultsOfOtherTypesUnderTheirOwnSchedule) {
  for (const Shape& shape : {Shape{Dim(4), Dim(9)}, Shape{Dim(1), Dim(1)}, Shape{Dim(6)},
                             Shape{Dim(2), Dim(3), Dim(33)}}) {
    const auto all = results([&](Graph& g, Builder& b) {
      Value* x = g.add_input("x", {DType::f32, shape});
      const Node* n = b.create("test::Extremes", {x}, {}, 3);
      for (int i = 0; i < 3; ++i) g.add_output("r" + std::to_string(i), n->result(i));
    });
    ASSERT_EQ(all.size(), 4u);
    const auto x = all[0].values<float>();
    const auto width = static_cast<size_t>(all[0].dims().back());
    for (size_t row = 0; row < x.size() / width; ++row) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * width);
      const auto largest = std::max_element(begin, begin + static_cast<std::ptrdiff_t>(width));
      EXPECT_EQ(all[1].values<float>()[row], *largest);
      EXPECT_EQ(all[2].values<float>()[row],
                *std::min_element(begin, begin + static_cast<std::ptrdiff_t>(width)));
      EXPECT_EQ(all[3].values<int64_t>()[row], largest - begin);
    }
  }
}

// Results that nobody reads are computed, but need not be read.
TEST(AddedKernel, UnusedResultsAreNoProblem) {
  const auto all = results([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim(4), Dim(9)}});
    const Node* n = b.create("test::Extremes", {x}, {}, 3);
    g.add_output("y", b.neg(n->result(1)));
  });
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(-all[1].values<float>()[0],
            *std::min_element(all[0].values<float>().begin(), all[0].values<float>().begin() + 9));
}

TEST(AddedKernel, ScatteringUpdates) {
  const auto all =
      results(one("test::Histogram", {DType::f32, {Dim::symbol("N"), Dim(50)}}), {{"N", 3}});
  ASSERT_EQ(all.size(), 2u);
  std::vector<int32_t> counts(8);
  for (const float v : all[0].values<float>())
    ++counts[static_cast<size_t>(std::clamp(static_cast<int>((v + 1) * 4), 0, 7))];
  EXPECT_EQ(std::vector<int32_t>(all[1].values<int32_t>().begin(), all[1].values<int32_t>().end()),
            counts);
}

// A scalar constant is an operand like any other; an absent one is undefined.
TEST(AddedKernel, ConstantAndAbsentOperands) {
  const auto all = results([](Graph& g, Builder& b) {
    Value* x = g.add_input("x", {DType::f32, {Dim(3), Dim(20)}});
    g.add_output("twice", b.make("test::Weigh", {x, b.scalar(2.0, DType::f32)}));
    g.add_output("same", b.make("test::Weigh", {x}));
    g.add_output("moved", b.make("test::Weigh", {b.transpose(x, {1, 0})}));
  });
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1].values<float>()[7], 2 * all[0].values<float>()[7]);
  EXPECT_EQ(all[2].values<float>()[7], all[0].values<float>()[7]);
  EXPECT_EQ(all[3].values<float>()[1], all[0].values<float>()[20]);
}

TEST(AddedKernel, MistakesOfDefinitionsNameTheNode) {
  const TensorType type{DType::f32, {Dim(2), Dim(3)}};
  EXPECT_EQ(
      mistake(one("test::Undefined", type)),
      "mine (test::Undefined): the op has no definition; its plugin must call register_kernel for it");
  EXPECT_EQ(mistake(one("test::TooFew", type)),
            "mine (test::TooFew): its definition returns 0 results, the op has 1");
  EXPECT_EQ(mistake(one("test::OtherType", type)),
            "mine (test::OtherType): its definition computes float64 as elements of result 0, the "
            "result is f32[2,3]");
  EXPECT_EQ(mistake(one("test::OtherRank", type)),
            "mine (test::OtherRank): its definition gives the Func of result 0 1 arguments, the "
            "result is f32[2,3]");
  EXPECT_THAT(mistake(one("test::Refused", type)),
              HasSubstr("mine (test::Refused): Halide refuses its definition: "));
}

TEST(AddedKernel, ReadingOutsideIsAnErrorOfTheRun) {
  const CompiledModel model = compiled(one("test::Beyond", {DType::f32, {Dim(2), Dim(3)}}), false);
  const std::vector<Tensor> inputs = inputs_of(model.model.program(), {});
  const auto got = model.model.run(std::span<const Tensor>(inputs));
  ASSERT_FALSE(got.ok());
  EXPECT_THAT(got.status().message(), HasSubstr("mine"));
}

TEST(AddedKernel, RegistrationIsChecked) {
  register_all();
  EXPECT_THROW(register_kernel("Weigh", {.define = define_weigh}), Error);
  EXPECT_THROW(register_kernel("test::Weigh", {.define = define_beyond}), Error);
  EXPECT_NO_THROW(register_kernel("test::Weigh", {.define = define_weigh}));
}

}  // namespace
}  // namespace tintype::test
