// Program to FlatBuffers.
#include "runtime/program_file.h"

#include "runtime/program_generated.h"

namespace tintype {

namespace {

namespace fb = flatbuffers;

class Encoder {
  fb::Offset<fb::String> text(const std::string& s) { return b_.CreateSharedString(s); }
  static uint8_t number(DType t) { return static_cast<uint8_t>(t); }
  template <typename T>
  fb::Offset<fb::Vector<T>> list(const std::vector<T>& values) {
    return b_.CreateVector(values);
  }
  template <typename T, typename F>
  auto tables(const std::vector<T>& items, const F& make) {
    std::vector<decltype(make(items[0]))> made;
    made.reserve(items.size());
    for (const T& item : items) made.push_back(make(item));
    return b_.CreateVector(made);
  }
  template <typename S, typename T, typename F>
  auto structs(const std::vector<T>& items, const F& make) {
    std::vector<S> made;
    made.reserve(items.size());
    for (const T& item : items) made.push_back(make(item));
    return b_.CreateVectorOfStructs(made);
  }

  fb::Offset<file::Constant> constant(const Tensor& t, uint64_t offset) {
    return file::CreateConstant(b_, number(t.dtype()), list(t.dims()), offset);
  }

  fb::Offset<file::Attribute> attribute(const std::string& name, const AttributeValue& value) {
    const auto label = text(name);
    fb::Offset<fb::String> string = 0;
    fb::Offset<fb::Vector<int64_t>> integers = 0;
    fb::Offset<fb::Vector<double>> numbers = 0;
    fb::Offset<file::Constant> tensor = 0;
    if (const auto* v = std::get_if<std::string>(&value)) string = text(*v);
    if (const auto* v = std::get_if<std::vector<int64_t>>(&value)) integers = list(*v);
    if (const auto* v = std::get_if<std::vector<double>>(&value)) numbers = list(*v);
    if (const auto* v = std::get_if<Tensor>(&value))
      tensor = constant(*v, offsets_[next_attribute_++]);
    const auto* integer = std::get_if<int64_t>(&value);
    const auto* real = std::get_if<double>(&value);
    return file::CreateAttribute(b_, label, static_cast<uint8_t>(value.index()),
                                 integer == nullptr ? 0 : *integer, real == nullptr ? 0 : *real,
                                 string, integers, numbers, tensor);
  }

  fb::Offset<file::Step> step(const Step& s) {
    const auto alternatives = tables(s.alternatives, [&](const Step::Alternative& a) {
      return file::CreateAlternative(b_, a.condition, a.kernel, list(a.arguments), a.inputs,
                                     a.outputs);
    });
    std::vector<fb::Offset<file::Attribute>> attributes;
    for (const auto& [name, value] : s.attributes.entries())
      attributes.push_back(attribute(name, value));
    const auto extents = tables(s.extent_attributes, [&](const auto& entry) {
      return file::CreateExtentAttribute(b_, text(entry.first), list(entry.second));
    });
    return file::CreateStep(b_, static_cast<uint8_t>(s.kind), alternatives, text(s.host_op),
                            b_.CreateVector(attributes), extents, list(s.inputs), list(s.outputs),
                            s.fill, text(s.name), text(s.origin), s.flops, control(s), library(s));
  }

  fb::Offset<file::Library> library(const Step& s) {
    if (s.kind != Step::Kind::library) return 0;
    const LibraryCall& c = s.library;
    return file::CreateLibrary(b_, static_cast<uint8_t>(c.kind), c.tf32, c.relu, list(c.padding),
                               list(c.strides), list(c.dilations), c.group);
  }

  fb::Offset<file::Control> control(const Step& s) {
    if (!spans_steps(s.kind)) return 0;
    const Step::Control& c = s.control;
    const auto rings = structs<file::Ring>(
        c.rings, [](const auto& ring) { return file::Ring(ring.first, ring.second); });
    return file::CreateControl(b_, c.span, c.otherwise, c.trips, c.trip_count, c.condition, c.trip,
                               rings);
  }

 public:
  Encoder(const Program& program, std::span<const uint64_t> offsets)
      : p_(program), offsets_(offsets) {}

  std::string run() {
    const auto model_name = text(p_.model_name), target = text(p_.target);
    const auto symbols = tables(p_.symbols, [&](const Symbol& s) {
      return file::CreateSymbol(b_, text(s.name), s.input, s.axis);
    });
    const auto expressions = structs<file::Expression>(p_.expressions, [](const ExtentExpr& e) {
      return file::Expression(e.value, e.a, e.b, static_cast<uint8_t>(e.kind));
    });
    const auto port = [&](const Port& p) {
      const auto indices = tables(p.indices, [&](const IndexUse& use) {
        return file::CreateIndexUse(b_, use.extent, text(use.where));
      });
      return file::CreatePort(b_, text(p.name), number(p.dtype), list(p.dims), p.view, indices);
    };
    const auto inputs = tables(p_.inputs, port), outputs = tables(p_.outputs, port);
    const auto constraints = tables(p_.constraints, [&](const Constraint& c) {
      return file::CreateConstraint(b_, c.left, c.right, text(c.message));
    });
    size_t next = 0;
    const auto constants =
        tables(p_.constants, [&](const Tensor& t) { return constant(t, offsets_[next++]); });
    const auto storages = structs<file::Storage>(p_.storages, [](const Storage& s) {
      return file::Storage(static_cast<uint8_t>(s.kind), s.value, s.bytes, s.first_step,
                           s.last_step);
    });
    const auto views = tables(p_.views, [&](const View& v) {
      return file::CreateView(b_, v.storage, number(v.dtype), v.offset, list(v.extents),
                              list(v.strides), list(v.motions));
    });
    const auto motions = structs<file::Motion>(p_.motions, [](const Motion& m) {
      return file::Motion(m.loop, m.stride, m.phase, m.ring);
    });
    const auto kernels = tables(p_.kernels, [&](const KernelInfo& k) {
      return file::CreateKernel(b_, text(k.symbol), text(k.name), text(k.algorithm));
    });
    next_attribute_ = p_.constants.size();
    const auto steps = tables(p_.steps, [&](const Step& s) { return step(s); });
    const auto states = tables(p_.states, [&](const StateVariable& s) {
      return file::CreateState(b_, text(s.name), constant(s.initial, offsets_[next_attribute_++]),
                               list(s.layout));
    });
    std::vector<int32_t> on_device;
    for (size_t i = 0; i < p_.storages.size(); ++i)
      if (p_.storages[i].device) on_device.push_back(static_cast<int32_t>(i));
    const auto device_storages = list(on_device);
    b_.Finish(file::CreateProgram(b_, model_name, target, symbols, expressions, inputs, outputs,
                                  constraints, constants, storages, views, kernels, steps, states,
                                  motions, device_storages));
    return {reinterpret_cast<const char*>(b_.GetBufferPointer()), b_.GetSize()};
  }

 private:
  const Program& p_;
  const std::span<const uint64_t> offsets_;
  size_t next_attribute_ = 0;
  fb::FlatBufferBuilder b_;
};

}  // namespace

std::string encode_program(const Program& program, std::span<const uint64_t> offsets) {
  return Encoder(program, offsets).run();
}

}  // namespace tintype
