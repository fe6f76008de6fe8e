// A cuBLASLt on the host: descriptors with the attributes that the runtime sets, one algorithm, and
// products of column-major matrices.
#include "runtime/dtype.h"
#include "tests/support/cuda/stand_in.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <vector>

namespace tintype {

namespace {

using namespace stand_in;
using cublaslt::Algorithm, cublaslt::Candidate;
constexpr int kExecutionFailed = 13, kInternalError = 14;

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch = 1;
  int64_t stride = 0;

  size_t bytes() const {
    return element_bytes(type == cublaslt::kFloat) *
           (static_cast<size_t>((batch - 1) * stride +
                                (static_cast<int64_t>(columns) - 1) * leading) +
            rows);
  }
};

struct Product {
  int compute;
  int32_t transpose_a = 0, transpose_b = 0, epilogue = cublaslt::kNoEpilogue;
  const float* bias = nullptr;
};

struct Preference {
  uint64_t most_workspace = 0;
  std::map<int, uint32_t> alignment;
};

template <typename F>
int call(const char* name, const F& work) {
  return enter(name, kInternalError, work);
}

template <typename T>
int store(T& to, const void* from, size_t bytes) {
  if (bytes != sizeof(T)) return note("an attribute of another size", cublaslt::kInvalidValue);
  std::memcpy(&to, from, bytes);
  return 0;
}

int set_layout(void* object, int attribute, const void* value, size_t bytes) {
  return call("cublasLtMatrixLayoutSetAttribute", [&] {
    auto& l = *static_cast<Layout*>(object);
    if (attribute == cublaslt::kBatchCount) return store(l.batch, value, bytes);
    if (attribute == cublaslt::kBatchStride) return store(l.stride, value, bytes);
    return note("an unknown attribute of a layout", cublaslt::kInvalidValue);
  });
}

int set_product(void* object, int attribute, const void* value, size_t bytes) {
  return call("cublasLtMatmulDescSetAttribute", [&] {
    auto& p = *static_cast<Product*>(object);
    if (attribute == cublaslt::kTransposeA) return store(p.transpose_a, value, bytes);
    if (attribute == cublaslt::kTransposeB) return store(p.transpose_b, value, bytes);
    if (attribute == cublaslt::kEpilogue) return store(p.epilogue, value, bytes);
    if (attribute == cublaslt::kBiasPointer) return store(p.bias, value, bytes);
    return note("an unknown attribute of a product", cublaslt::kInvalidValue);
  });
}

int set_preference(void* object, int attribute, const void* value, size_t bytes) {
  return call("cublasLtMatmulPreferenceSetAttribute", [&] {
    auto& p = *static_cast<Preference*>(object);
    if (attribute == cublaslt::kMostWorkspace) return store(p.most_workspace, value, bytes);
    return store(p.alignment[attribute], value, bytes);
  });
}

/// Why the library would not do a product, or "".
std::string problem(const Product& p, const Layout& a, const Layout& b, const Layout& c,
                    const Layout& d) {
  const auto rows = [](const Layout& l, int t) { return t != 0 ? l.columns : l.rows; };
  const auto columns = [](const Layout& l, int t) { return t != 0 ? l.rows : l.columns; };
  if (rows(a, p.transpose_a) != d.rows || columns(b, p.transpose_b) != d.columns ||
      columns(a, p.transpose_a) != rows(b, p.transpose_b) || c.rows != d.rows ||
      c.columns != d.columns)
    return "matrices of a product do not fit";
  for (const Layout* l : {&a, &b, &c, &d})
    if (l->rows == 0 || l->columns == 0 || l->leading < static_cast<int64_t>(l->rows) ||
        l->batch != d.batch)
      return "a matrix of a product is empty, overlaps itself, or has another batch";
  if (d.batch > 1 && d.stride == 0) return "results of a batch overlap";
  // Of the types that the library documents, what the runtime asks for.
  const bool wide = a.type == cublaslt::kFloat;
  if (a.type != b.type || c.type != cublaslt::kFloat || d.type != cublaslt::kFloat)
    return "types of a product that do not go together";
  if (wide == (p.compute == cublaslt::kCompute32f)) return "arithmetic that does not fit its types";
  return "";
}

int find(void*, void* product, void* a, void* b, void* c, void* d, void* preference, int most,
         Candidate* list, int* found) {
  return call("cublasLtMatmulAlgoGetHeuristic", [&] {
    const auto& p = *static_cast<Product*>(product);
    const std::string wrong = problem(p, *static_cast<Layout*>(a), *static_cast<Layout*>(b),
                                      *static_cast<Layout*>(c), *static_cast<Layout*>(d));
    if (!wrong.empty() || most < 1) return note(wrong, cublaslt::kInvalidValue);
    const auto& wanted = *static_cast<Preference*>(preference);
    *found = library_workspace() <= wanted.most_workspace ? 1 : 0;
    if (*found == 0) return 0;
    list[0] = {};
    list[0].workspace = library_workspace();
    std::copy_n("stand-in", 8, reinterpret_cast<char*>(&list[0].algorithm));
    // What the choice relies on, to be held against the addresses of each call.
    for (int i = 0; i < 4; ++i)
      list[0].algorithm.data[1 + i] = wanted.alignment.at(cublaslt::kAlignmentA + i);
    return 0;
  });
}

struct Call {
  Product product;
  float alpha, beta;
  const void *a, *b, *c;
  void* d;
  Layout la, lb, lc, ld;
  void* workspace;
};

const float* floats(const void* address, const Layout& l) {
  return reinterpret_cast<const float*>(memory(address, l.bytes()));
}

Elements elements(const void* address, const Layout& l) {
  return {memory(address, l.bytes()), l.type == cublaslt::kFloat, l.type == cublaslt::kBf16};
}

/// A library touches the elements of a matrix, not what lies between its columns.
bool touch_matrix(const void* address, const Layout& l, bool write) {
  const size_t element = element_bytes(l.type == cublaslt::kFloat);
  for (int64_t n = 0; n < l.batch; ++n)
    for (int64_t column = 0; column < static_cast<int64_t>(l.columns); ++column) {
      const auto at = static_cast<size_t>(n * l.stride + column * l.leading);
      if (touch(static_cast<const std::byte*>(address) + at * element, l.rows * element, write) !=
          0)
        return false;
    }
  return true;
}

/// False when something on another stream is in the way.
bool touch_all(const Call& k, bool has_bias) {
  return touch_matrix(k.a, k.la, false) && touch_matrix(k.b, k.lb, false) &&
         (k.beta == 0 || touch_matrix(k.c, k.lc, false)) &&
         (!has_bias || touch(k.product.bias, 4 * k.ld.rows, false) == 0) &&
         touch_matrix(k.d, k.ld, true) && touch(k.workspace, library_workspace(), true) == 0;
}

int compute(const Call& k) {
  const Product& p = k.product;
  const Elements a = elements(k.a, k.la), b = elements(k.b, k.lb);
  const float* c = floats(k.c, k.lc);
  auto* d = const_cast<float*>(floats(k.d, k.ld));
  const bool has_bias = (p.epilogue & cublaslt::kBias) != 0;
  const float* bias =
      has_bias ? reinterpret_cast<const float*>(memory(p.bias, 4 * k.ld.rows)) : nullptr;
  std::byte* workspace = memory(k.workspace, library_workspace());
  if (a.at == nullptr || b.at == nullptr || c == nullptr || d == nullptr ||
      (has_bias && bias == nullptr) || workspace == nullptr)
    return note("a product reads or writes outside of all blocks", 700);
  if (!touch_all(k, has_bias)) return 700;
  std::memset(workspace, 0xEE, library_workspace());
  const bool rounded = p.compute == cublaslt::kComputeTf32;
  const auto at = [](const Layout& l, bool transposed, int64_t batch, int64_t row, int64_t column) {
    if (transposed) std::swap(row, column);
    return static_cast<size_t>(batch * l.stride + column * l.leading + row);
  };
  const auto rows = static_cast<int64_t>(k.ld.rows), columns = static_cast<int64_t>(k.ld.columns);
  const auto depth = static_cast<int64_t>(p.transpose_a != 0 ? k.la.rows : k.la.columns);
  for (int64_t n = 0; n < k.ld.batch; ++n)
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t i = 0; i < rows; ++i) {
        double sum = 0;
        for (int64_t s = 0; s < depth; ++s)
          sum += double{operand(a[at(k.la, p.transpose_a != 0, n, i, s)], rounded)} *
                 double{operand(b[at(k.lb, p.transpose_b != 0, n, s, j)], rounded)};
        float& to = d[at(k.ld, false, n, i, j)];
        float value = static_cast<float>(sum) * k.alpha;
        if (k.beta != 0) value += k.beta * c[at(k.lc, false, n, i, j)];
        if (has_bias) value += bias[i];
        to = (p.epilogue & cublaslt::kRelu) != 0 ? std::max(value, 0.0f) : value;
      }
  return 0;
}

int multiply(void*, void* product, const void* alpha, const void* a, void* la, const void* b,
             void* lb, const void* beta, const void* c, void* lc, void* d, void* ld,
             const Algorithm* algorithm, void* workspace, size_t bytes, void* stream) {
  return call("cublasLtMatmul", [&] {
    const Call k = {*static_cast<Product*>(product),
                    *static_cast<const float*>(alpha),
                    *static_cast<const float*>(beta),
                    a,
                    b,
                    c,
                    d,
                    *static_cast<Layout*>(la),
                    *static_cast<Layout*>(lb),
                    *static_cast<Layout*>(lc),
                    *static_cast<Layout*>(ld),
                    workspace};
    if (const std::string wrong = problem(k.product, k.la, k.lb, k.lc, k.ld); !wrong.empty())
      return note(wrong, cublaslt::kInvalidValue);
    if (algorithm == nullptr || bytes < library_workspace())
      return note("a product without an algorithm or its workspace", cublaslt::kInvalidValue);
    const void* addresses[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
      if (reinterpret_cast<uintptr_t>(addresses[i]) % algorithm->data[1 + i] != 0)
        return note("an operand of a product is not aligned", cublaslt::kInvalidValue);
    if (!interprets()) return 0;
    return enqueue("cublasLtMatmul", stream, [k] { return compute(k); }) == 0 ? 0
                                                                              : kExecutionFailed;
  });
}

CublasLt make_table() {
  CublasLt t;
  t.version = [] { return size_t{130000}; };
  t.status_text = [](int) { return "said the stand-in for cuBLASLt"; };
  t.create = [](void** out) { return make<int, kInternalError>("cublasLtCreate", out, 0); };
  t.destroy = [](void* handle) { return drop<int, kInternalError>("cublasLtDestroy", handle); };
  t.layout_create = [](void** out, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    if (type != cublaslt::kFloat && type != cublaslt::kHalf && type != cublaslt::kBf16)
      return note("a matrix of another type", cublaslt::kInvalidValue);
    return make<Layout, kInternalError>("cublasLtMatrixLayoutCreate", out, type, rows, columns,
                                        leading);
  };
  t.layout_destroy = [](void* l) {
    return drop<Layout, kInternalError>("cublasLtMatrixLayoutDestroy", l);
  };
  t.layout_set = set_layout;
  t.product_create = [](void** out, int compute_type, int) {
    return make<Product, kInternalError>("cublasLtMatmulDescCreate", out, compute_type);
  };
  t.product_destroy = [](void* p) {
    return drop<Product, kInternalError>("cublasLtMatmulDescDestroy", p);
  };
  t.product_set = set_product;
  t.preference_create = [](void** out) {
    return make<Preference, kInternalError>("cublasLtMatmulPreferenceCreate", out);
  };
  t.preference_destroy = [](void* p) {
    return drop<Preference, kInternalError>("cublasLtMatmulPreferenceDestroy", p);
  };
  t.preference_set = set_preference;
  t.candidates = find;
  t.multiply = multiply;
  return t;
}

}  // namespace

const CublasLt& CudaStandIn::cublaslt() {
  static const CublasLt table = make_table();
  return table;
}

namespace stand_in {

const CudaLibraries& libraries(bool there) {
  static const CudaLibraries none = {nullptr, nullptr, "libcublasLt.so.13: not on the stand-in",
                                     "libcudnn.so.9: not on the stand-in"};
  static const CudaLibraries both = {&CudaStandIn::cublaslt(), &CudaStandIn::cudnn(), "", ""};
  return there ? both : none;
}

float Elements::operator[](size_t i) const {
  if (wide) return reinterpret_cast<const float*>(at)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(at)[i];
  return bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

void Elements::put(std::byte* to, size_t i, float value) const {
  if (wide) reinterpret_cast<float*>(to)[i] = value;
  else reinterpret_cast<uint16_t*>(to)[i] = bf16 ? f32_to_bf16(value) : f32_to_f16(value);
}

float operand(float x, bool rounded) {
  if (!rounded) return x;
  auto bits = std::bit_cast<uint32_t>(x);
  bits += 0xFFF + (bits >> 13 & 1);  // to the nearest, ties to even
  return std::bit_cast<float>(bits & ~uint32_t{0x1FFF});
}

}  // namespace stand_in

}  // namespace tintype
