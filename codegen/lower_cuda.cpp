// Lowering for a CUDA device: what runs there, and the copies between it and the host.
#include "codegen/lowering.h"
#include "ir/diagnostic.h"
#include "ir/op_def.h"

#include <algorithm>
#include <utility>

namespace tintype {

bool Lowering::is_on_device(const Placement& p) const {
  return result_.program.storages[static_cast<size_t>(p.storage)].device;
}

bool Lowering::runs_on_device(const Node& n) const {
  if (options_.machine.cuda == 0 || host_only_) return false;
  if (n.is("region")) return cuda_problem(n).empty();
  // Extents are the host's to know; the device gets them when it reads them.
  if (n.is("dims")) return !options_.machine.split || read_on_device(n.result());
  return n.is("concat") || n.is("pad") || n.is("scan");
}

/// States lie where the step runs that updates them; those that none updates, where they are read.
bool Lowering::state_on_device(const State& s) const {
  const Value* made = graph_.output(static_cast<size_t>(s.next));
  while (made->def() != nullptr && is_view(*made->def())) made = made->def()->operand(0);
  const Node* maker = made->def();
  if (maker != nullptr && !maker->is("constant")) return runs_on_device(*maker);
  return read_on_device(s.current);
}

bool Lowering::read_on_device(const Value* v) const {
  return std::any_of(v->uses().begin(), v->uses().end(), [this](const Use& u) {
    return is_view(*u.node) ? read_on_device(u.node->result()) : runs_on_device(*u.node);
  });
}

void Lowering::keep_on_host(const Node& n, const std::string& why) {
  // What is inside a loop on the host is told with the loop.
  if (options_.machine.cuda == 0 || host_only_) return;
  const std::string reason = n.where() + ": " + why;
  if (!options_.machine.split) throw Error(reason + "; with --target host,cuda it runs on the CPU");
  result_.on_host.push_back(reason);
}

Placement Lowering::buffer(DType dtype, const Shape& shape, bool device) {
  const bool before = std::exchange(builder_.on_device, device);
  const Dim bytes = product(shape) * Dim(static_cast<int64_t>(size_of(dtype)));
  Placement p{builder_.storage(Storage::Kind::arena, 0, bytes), Dim(0), dense_strides(shape)};
  builder_.on_device = before;
  return p;
}

Placement Lowering::placed(const Value* v, bool device) {
  const Placement at = places_->of(v);
  if (is_on_device(at) == device) return at;
  const Storage::Kind kind = result_.program.storages[static_cast<size_t>(at.storage)].kind;
  if (device && kind == Storage::Kind::constant) return constant_on_device(at);
  if (device && kind == Storage::Kind::input) return input_on_device(at);
  if (const auto it = copies_elsewhere_.find({v, device}); it != copies_elsewhere_.end())
    return it->second;
  const Placement there = buffer(v->dtype(), v->shape(), device);
  add_copy(v->dtype(), v->shape(), at, there, device ? "to the device" : "to the host",
           v->def() == nullptr ? "" : v->def()->where());
  copies_elsewhere_[{v, device}] = there;
  return there;
}

/// Constants are copied when the program is opened; any view of one is the same view there.
Placement Lowering::constant_on_device(const Placement& p) {
  Placement there = p;
  const auto [it, fresh] = twins_.emplace(p.storage, 0);
  if (fresh) {
    Storage twin = result_.program.storages[static_cast<size_t>(p.storage)];
    twin.device = true;
    it->second = static_cast<int32_t>(result_.program.storages.size());
    result_.program.storages.push_back(twin);
  }
  there.storage = it->second;
  return there;
}

/// An input is copied as a whole when something on the device first reads it.
Placement Lowering::input_on_device(const Placement& p) {
  Placement there = p;
  const auto [it, fresh] = twins_.emplace(p.storage, 0);
  if (fresh) {
    const auto port =
        static_cast<size_t>(result_.program.storages[static_cast<size_t>(p.storage)].value);
    std::vector<const Value*> ports;
    for (const auto& v : graph_.inputs())
      if (graph_.state_of(v.get()) == nullptr) ports.push_back(v.get());
    const Value* v = ports.at(port);
    const Placement copy = buffer(v->dtype(), v->shape(), true);
    it->second = copy.storage;
    add_copy(v->dtype(), v->shape(), {p.storage, Dim(0), dense_strides(v->shape())}, copy,
             "input " + v->name(), "");
  }
  there.storage = it->second;
  return there;
}

void Lowering::add_device_copy(DType dtype, const Shape& shape, const Placement& from,
                               const Placement& to, const std::string& name,
                               const std::string& origin) {
  const bool dense = is_dense(from, shape) && is_dense(to, shape);
  if (!dense && is_on_device(from) && is_on_device(to)) {
    const Node& copy = scratch_region(
        "copy", {{dtype, shape}}, {dtype, shape},
        [](Builder& b, const std::vector<Value*>& x) { return b.unary("identity", x[0]); });
    return add_kernel_step(copy, {from}, {to}, origin);
  }
  Placement source = from, target = to;
  if (!is_dense(from, shape)) {
    source = buffer(dtype, shape, is_on_device(from));
    add_copy(dtype, shape, from, source, name, origin);
  }
  if (!is_dense(to, shape)) target = buffer(dtype, shape, is_on_device(to));
  Step s;
  s.kind = Step::Kind::copy;
  s.inputs = {builder_.view(dtype, source, shape)};
  s.outputs = {builder_.view(dtype, target, shape)};
  s.name = "copy " + name;
  s.origin = origin;
  result_.program.steps.push_back(std::move(s));
  if (!is_dense(to, shape)) add_copy(dtype, shape, target, to, name, origin);
}

void Lowering::add_device_fill(const Margin& m) {
  const Node& fill =
      scratch_region("fill", {}, {m.dtype, m.extents}, [&](Builder& b, const std::vector<Value*>&) {
        return b.broadcast(b.scalar(m.fill, m.dtype), m.extents);
      });
  add_kernel_step(fill, {}, {m.placement}, "");
}

void Lowering::lower_device_pad(const Node& n) { add_device_pad(n, places_->of(n.result())); }

void Lowering::add_device_pad(const Node& n, const Placement& to) {
  std::vector<TensorType> types;
  std::vector<Placement> inputs;
  for (const Value* v : n.operands()) {
    if (v == nullptr) continue;
    types.push_back(v->type());
    inputs.push_back(placed(v, true));
  }
  const Node& pad = scratch_region(
      "pad", types, n.result()->type(),
      [&](Builder& b, const std::vector<Value*>& x) { return b.make("pad", x, n.attrs()); });
  add_kernel_step(pad, inputs, {to}, n.where());
}

/// A kernel per extent: a program records what the device does, extents included. Extent e is the
/// last element of 0, 1 ... e.
void Lowering::lower_device_dims(const Node& n) {
  const Shape& extents = n.attrs().dims("extents");
  Placement at = places_->of(n.result());
  const Dim step = at.strides[0];
  for (const Dim& e : extents) {
    const Node& extent = scratch_region(
        "extent", {}, {DType::i64, {1}}, [&](Builder& b, const std::vector<Value*>&) {
          Value* all = b.make("iota", {}, {{"shape", Shape{e + Dim(1)}}, {"dtype", DType::i64}});
          return b.slice_axis(all, 0, e, Dim(1));
        });
    add_kernel_step(extent, {}, {at}, n.where());
    at.offset = at.offset + step;
  }
}

const Node& Lowering::scratch_region(
    const std::string& name, const std::vector<TensorType>& inputs, const TensorType& result,
    const std::function<Value*(Builder&, const std::vector<Value*>&)>& make) {
  auto graph = std::make_unique<Graph>(name);
  auto body = std::make_unique<Graph>(name);
  std::vector<Value*> outer, inner;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string input = "a" + std::to_string(i);
    outer.push_back(graph->add_input(input, inputs[i]));
    inner.push_back(body->add_input(input, inputs[i]));
  }
  Builder b(*body);
  Value* made = make(b, inner);
  made->set_type(result);
  body->add_output("r0", made);
  Node* region = graph->create(op("region"), outer, {{"name", name}}, 1);
  region->add_body(std::move(body));
  region->result()->set_type(result);
  scratch_.push_back(std::move(graph));
  return *region;
}

}  // namespace tintype
