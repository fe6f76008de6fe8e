// Matrix products of cuBLASLt.
//
// The library counts rows first, programs columns first: what it sees is the transposed product,
//   result^T [N, M] = right^T [N, K] left^T [K, M].
#include "runtime/cuda/libraries.h"
#include "runtime/cuda/library_call.h"

#include <algorithm>
#include <optional>

namespace tintype {

namespace {

constexpr int64_t kAlignment = 256;  // what the library expects unless told otherwise

Status failed(const CublasLt& library, int code, const char* doing) {
  if (code == cublaslt::kSuccess) return {};
  const char* text = library.status_text(code);
  const bool declined = code == cublaslt::kNotSupported || code == cublaslt::kInvalidValue;
  return {declined ? StatusCode::unsupported : StatusCode::internal,
          std::string(doing) + ": " +
              (text == nullptr ? "error " + std::to_string(code) : std::string(text))};
}

/// A matrix as the library describes it.
struct Matrix {
  uint64_t rows = 0, columns = 0;
  int64_t leading = 0;  ///< elements from column to column
  bool transposed = false;
};

/// A matrix of which the library wants `inner` as rows. Nothing where neither axis is adjacent, or
/// columns overlap.
std::optional<Matrix> matrix(int64_t outer, int64_t outer_stride, int64_t inner,
                             int64_t inner_stride) {
  Matrix m;
  if (inner_stride == 1 || inner == 1) {
    m = {static_cast<uint64_t>(inner), static_cast<uint64_t>(outer),
         outer == 1 ? inner : outer_stride, false};
  } else if (outer_stride == 1 || outer == 1) {
    m = {static_cast<uint64_t>(outer), static_cast<uint64_t>(inner), inner_stride, true};
  } else {
    return std::nullopt;
  }
  if (m.leading < static_cast<int64_t>(m.rows)) return std::nullopt;
  return m;
}

/// The same for [batch, outer, inner].
std::optional<Matrix> matrix(const LibraryOperand& o) {
  return matrix(o.extents[1], o.strides[1], o.extents[2], o.strides[2]);
}

int type_of(DType t) {
  return t == DType::bf16 ? cublaslt::kBf16 : t == DType::f16 ? cublaslt::kHalf : cublaslt::kFloat;
}

/// The power of two that the address of an operand is a multiple of, in every run.
uint32_t alignment(const LibraryOperand& o) {
  const auto element = static_cast<uint32_t>(size_of(o.type));
  if (o.moves) return element;
  const auto address = reinterpret_cast<uintptr_t>(*o.address);
  int64_t a = kAlignment;
  while (a > element && address % static_cast<uint64_t>(a) != 0) a /= 2;
  return static_cast<uint32_t>(a);
}

class ProductPlan final : public LibraryPlan {
 public:
  ProductPlan(const CublasLt& library, CudaQueue& queue, LibraryOperands operands)
      : l_(library), queue_(queue), o_(std::move(operands)), product_(library.product_destroy),
        left_(library.layout_destroy), right_(library.layout_destroy),
        residual_(library.layout_destroy), result_(library.layout_destroy) {}

  Status prepare(const LibraryCall& call) {
    const Result<void*> handle = queue_.cublaslt(l_);
    if (!handle.ok()) return handle.status();
    handle_ = handle.value();
    const auto a = matrix(o_.right), b = matrix(o_.left), d = matrix(o_.result);
    std::optional<Matrix> c = d;
    if (o_.residual.present()) c = matrix(o_.residual);
    if (!a || !b || !c || !d || d->transposed || c->transposed)
      return {StatusCode::unsupported, "a matrix has no adjacent axis"};
    if (Status s = describe(call, *a, *b); !s.ok()) return s;
    if (Status s = layout(right_, *a, o_.right); !s.ok()) return s;
    if (Status s = layout(left_, *b, o_.left); !s.ok()) return s;
    if (Status s = layout(result_, *d, o_.result); !s.ok()) return s;
    if (o_.residual.present())
      if (Status s = layout(residual_, *c, o_.residual); !s.ok()) return s;
    return choose();
  }

  Status run() override {
    if (o_.bias.present() && *o_.bias.address != bias_)
      if (Status s = set_bias(); !s.ok()) return s;
    const float one = 1, added = o_.residual.present() ? 1 : 0;
    const void* before = o_.residual.present() ? *o_.residual.address : *o_.result.address;
    queue_.note_busy();
    return failed(l_,
                  l_.multiply(handle_, product_.get(), &one, *o_.right.address, right_.get(),
                              *o_.left.address, left_.get(), &added, before, before_layout(),
                              const_cast<uint8_t*>(*o_.result.address), result_.get(), &algorithm_,
                              const_cast<uint8_t*>(*o_.workspace), o_.workspace_bytes,
                              queue_.stream()),
                  "cublasLtMatmul");
  }

 private:
  void* before_layout() const { return o_.residual.present() ? residual_.get() : result_.get(); }

  Status describe(const LibraryCall& call, const Matrix& a, const Matrix& b) {
    using namespace cublaslt;
    // Of 16-bit operands, f32 is what tensor cores compute: sums, and the bias.
    const int compute = o_.left.type != DType::f32 ? kCompute32f
                        : call.tf32                ? kComputeTf32
                                                   : kComputePedantic;
    if (Status s = failed(l_, l_.product_create(product_.put(), compute, kFloat),
                          "cublasLtMatmulDescCreate");
        !s.ok())
      return s;
    const int32_t first = a.transposed ? kTransposed : kPlain;
    const int32_t second = b.transposed ? kTransposed : kPlain;
    const bool bias = o_.bias.present();
    const int32_t epilogue = call.relu ? (bias ? kReluBias : kRelu) : (bias ? kBias : kNoEpilogue);
    for (const auto& [attribute, value] :
         {std::pair(kTransposeA, first), {kTransposeB, second}, {kEpilogue, epilogue}})
      if (Status s = failed(l_, l_.product_set(product_.get(), attribute, &value, sizeof value),
                            "cublasLtMatmulDescSetAttribute");
          !s.ok())
        return s;
    return bias ? set_bias() : Status();
  }

  Status set_bias() {
    bias_ = *o_.bias.address;
    return failed(l_, l_.product_set(product_.get(), cublaslt::kBiasPointer, &bias_, sizeof bias_),
                  "cublasLtMatmulDescSetAttribute");
  }

  Status layout(LibraryDescriptor& to, const Matrix& m, const LibraryOperand& o) {
    if (Status s =
            failed(l_, l_.layout_create(to.put(), type_of(o.type), m.rows, m.columns, m.leading),
                   "cublasLtMatrixLayoutCreate");
        !s.ok())
      return s;
    const auto count = static_cast<int32_t>(o_.result.extents[0]);
    const int64_t stride = o.extents[0] == 1 ? 0 : o.strides[0];
    if (count == 1) return {};
    if (Status s = failed(l_, l_.layout_set(to.get(), cublaslt::kBatchCount, &count, sizeof count),
                          "cublasLtMatrixLayoutSetAttribute");
        !s.ok())
      return s;
    return failed(l_, l_.layout_set(to.get(), cublaslt::kBatchStride, &stride, sizeof stride),
                  "cublasLtMatrixLayoutSetAttribute");
  }

  Status choose() {
    using namespace cublaslt;
    LibraryDescriptor preference(l_.preference_destroy);
    if (Status s =
            failed(l_, l_.preference_create(preference.put()), "cublasLtMatmulPreferenceCreate");
        !s.ok())
      return s;
    const auto set = [&](int attribute, const auto& value) {
      return failed(l_, l_.preference_set(preference.get(), attribute, &value, sizeof value),
                    "cublasLtMatmulPreferenceSetAttribute");
    };
    const uint64_t most = o_.workspace_bytes;
    if (Status s = set(kMostWorkspace, most); !s.ok()) return s;
    const LibraryOperand& added = o_.residual.present() ? o_.residual : o_.result;
    const std::pair<int, const LibraryOperand*> operands[] = {{kAlignmentA, &o_.right},
                                                              {kAlignmentB, &o_.left},
                                                              {kAlignmentC, &added},
                                                              {kAlignmentD, &o_.result}};
    for (const auto& [attribute, operand] : operands)
      if (Status s = set(attribute, alignment(*operand)); !s.ok()) return s;
    Candidate best = {};
    int found = 0;
    if (Status s = failed(l_,
                          l_.candidates(handle_, product_.get(), right_.get(), left_.get(),
                                        before_layout(), result_.get(), preference.get(), 1, &best,
                                        &found),
                          "cublasLtMatmulAlgoGetHeuristic");
        !s.ok())
      return s;
    if (found < 1 || best.state != kSuccess || best.workspace > most)
      return {StatusCode::unsupported, "cuBLASLt has no algorithm with a workspace of at most " +
                                           std::to_string(most) + " bytes"};
    algorithm_ = best.algorithm;
    return {};
  }

  const CublasLt& l_;
  CudaQueue& queue_;
  const LibraryOperands o_;
  void* handle_ = nullptr;
  LibraryDescriptor product_, left_, right_, residual_, result_;
  cublaslt::Algorithm algorithm_ = {};
  const uint8_t* bias_ = nullptr;
};

}  // namespace

const char* library_name(const LibraryCall& call) {
  return call.kind == LibraryCall::Kind::product ? "cuBLASLt" : "cuDNN";
}

Result<std::unique_ptr<LibraryPlan>> prepare_product(const LibraryCall& call,
                                                     const LibraryOperands& operands,
                                                     CudaQueue& queue) {
  const CudaLibraries& libraries = cuda_libraries();
  if (libraries.cublaslt == nullptr) return Status(StatusCode::unsupported, libraries.no_cublaslt);
  auto plan = std::make_unique<ProductPlan>(*libraries.cublaslt, queue, operands);
  if (Status s = plan->prepare(call); !s.ok()) return s;
  return std::unique_ptr<LibraryPlan>(std::move(plan));
}

}  // namespace tintype
