// FlatBuffers to Program. Runs on verified buffers, yet expects any field to be absent.
#include "runtime/program_file.h"

#include "runtime/program_generated.h"

#include <limits>

namespace tintype {

namespace {

namespace fb = flatbuffers;

class Decoder {
 public:
  Decoder(std::span<const std::byte> constants, std::shared_ptr<const void> owner)
      : constants_(constants), owner_(std::move(owner)) {}

  Result<std::shared_ptr<Program>> run(const file::Program& f) {
    auto program = std::make_shared<Program>();
    Program& p = *program;
    p.model_name = text(f.model_name());
    p.target = text(f.target());
    each(f.symbols(), [&](const file::Symbol& s) {
      p.symbols.push_back({text(s.name()), s.input(), s.axis()});
    });
    each(f.expressions(), [&](const file::Expression& e) {
      p.expressions.push_back({static_cast<ExtentExpr::Kind>(e.kind()), e.value(), e.a(), e.b()});
    });
    const auto port = [&](const file::Port& s) {
      Port made{text(s.name()), static_cast<DType>(s.dtype()), list(s.dims()), s.view()};
      each(s.indices(), [&](const file::IndexUse& use) {
        made.indices.push_back({use.extent(), text(use.where())});
      });
      return made;
    };
    each(f.inputs(), [&](const file::Port& s) { p.inputs.push_back(port(s)); });
    each(f.outputs(), [&](const file::Port& s) { p.outputs.push_back(port(s)); });
    each(f.constraints(), [&](const file::Constraint& c) {
      p.constraints.push_back({c.left(), c.right(), text(c.message())});
    });
    each(f.constants(), [&](const file::Constant& c) { p.constants.push_back(constant(&c)); });
    each(f.storages(), [&](const file::Storage& s) {
      p.storages.push_back({static_cast<Storage::Kind>(s.kind()), s.value(), s.bytes(),
                            s.first_step(), s.last_step()});
    });
    for (const int32_t i : list(f.device_storages())) {
      if (i < 0 || i >= static_cast<int32_t>(p.storages.size()))
        fail("a storage on the device does not exist");
      else p.storages[static_cast<size_t>(i)].device = true;
    }
    each(f.views(), [&](const file::View& v) {
      p.views.push_back({v.storage(), static_cast<DType>(v.dtype()), v.offset(), list(v.extents()),
                         list(v.strides()), list(v.motions())});
    });
    each(f.motions(), [&](const file::Motion& m) {
      p.motions.push_back({m.loop(), m.stride(), m.phase(), m.ring()});
    });
    each(f.kernels(), [&](const file::Kernel& k) {
      p.kernels.push_back({text(k.symbol()), text(k.name()), text(k.algorithm())});
    });
    each(f.steps(), [&](const file::Step& s) { p.steps.push_back(step(s)); });
    each(f.states(), [&](const file::State& s) {
      p.states.push_back({text(s.name()), constant(s.initial()), list(s.layout())});
    });
    if (!failure_.empty()) return Status(StatusCode::corrupt_file, failure_);
    return program;
  }

 private:
  static std::string text(const fb::String* s) { return s == nullptr ? "" : s->str(); }
  template <typename T>
  static std::vector<T> list(const fb::Vector<T>* v) {
    return v == nullptr ? std::vector<T>() : std::vector<T>(v->begin(), v->end());
  }
  template <typename V, typename F>
  static void each(const V* items, const F& f) {
    if (items == nullptr) return;
    for (const auto* item : *items) f(*item);
  }

  /// Records what is wrong; the program is dropped in the end.
  void fail(const char* what) {
    if (failure_.empty()) failure_ = what;
  }

  Tensor constant(const file::Constant* c) {
    const auto dtype = static_cast<DType>(c == nullptr ? 0 : c->dtype());
    if (c == nullptr || size_of(dtype) == 0) {
      fail("a constant has no element type");
      return {};
    }
    const std::vector<int64_t> dims = list(c->dims());
    uint64_t bytes = size_of(dtype);
    for (int64_t d : dims)
      if (d < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes)) {
        fail("the size of a constant overflows");
        return {};
      }
    if (bytes > constants_.size() || c->offset() > constants_.size() - bytes ||
        c->offset() % 64 != 0) {
      fail("a constant lies outside its section");
      return {};
    }
    return Tensor::borrow(dtype, dims, constants_.data() + c->offset(), owner_);
  }

  AttributeValue value(const file::Attribute& a) {
    switch (a.kind()) {
      case 0: return a.integer();
      case 1: return a.number();
      case 2: return text(a.text());
      case 3: return list(a.integers());
      case 4: return list(a.numbers());
      case 5: return constant(a.tensor());
      default: fail("an attribute is of unknown kind"); return int64_t{0};
    }
  }

  Step step(const file::Step& f) {
    Step s;
    s.kind = static_cast<Step::Kind>(f.kind());
    each(f.alternatives(), [&](const file::Alternative& a) {
      s.alternatives.push_back(
          {a.condition(), a.kernel(), list(a.arguments()), a.inputs(), a.outputs()});
    });
    s.host_op = text(f.host_op());
    each(f.attributes(),
         [&](const file::Attribute& a) { s.attributes.set(text(a.name()), value(a)); });
    each(f.extent_attributes(), [&](const file::ExtentAttribute& a) {
      s.extent_attributes.emplace_back(text(a.name()), list(a.extents()));
    });
    s.inputs = list(f.inputs());
    s.outputs = list(f.outputs());
    s.fill = f.fill();
    s.name = text(f.name());
    s.origin = text(f.origin());
    s.flops = f.flops();
    if (f.control() != nullptr) s.control = control(*f.control());
    if (f.library() != nullptr) s.library = library(*f.library());
    return s;
  }

  static LibraryCall library(const file::Library& f) {
    return {static_cast<LibraryCall::Kind>(f.kind()),
            f.tf32(),
            f.relu(),
            list(f.padding()),
            list(f.strides()),
            list(f.dilations()),
            f.group()};
  }

  static Step::Control control(const file::Control& f) {
    Step::Control c{f.span(), f.otherwise(), f.trips(), f.trip_count(), f.condition(), f.trip()};
    each(f.rings(), [&](const file::Ring& r) { c.rings.emplace_back(r.first(), r.second()); });
    return c;
  }

  const std::span<const std::byte> constants_;
  const std::shared_ptr<const void> owner_;
  std::string failure_;
};

}  // namespace

Result<std::shared_ptr<Program>> decode_program(std::span<const std::byte> encoded,
                                                std::span<const std::byte> constants,
                                                const std::shared_ptr<const void>& owner) {
  const auto* data = reinterpret_cast<const uint8_t*>(encoded.data());
  // The limit on tables guards against buffers that refer to the same table again and again.
  const auto most_tables = static_cast<fb::uoffset_t>(
      std::min<size_t>(encoded.size(), std::numeric_limits<fb::uoffset_t>::max()));
  if (encoded.size() < 8) return Status(StatusCode::corrupt_file, "the program is too short");
  fb::Verifier verifier(data, encoded.size(), 16, most_tables);
  if (!file::VerifyProgramBuffer(verifier))
    return Status(StatusCode::corrupt_file, "the program is malformed");
  return Decoder(constants, owner).run(*file::GetProgram(data));
}

}  // namespace tintype
