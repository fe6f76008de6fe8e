// Convolutions of cuDNN, and the gradients of their weights.
//
// Through the functions of its legacy interface, which cuDNN 9 still has: they take a dozen numbers
// where the graph interface takes a graph of descriptors, choose among the same kernels, and fuse
// what steps fold into a convolution (a bias, a sum, ReLU). Tensors are x[N, H, W, C], weights
// [filters, rows, columns, C / group], all dense. Sums are f32; of bf16 or f16 its results are
// that, too: it has no convolution whose result is wider than its operands.
#include "runtime/cuda/libraries.h"
#include "runtime/cuda/library_call.h"

#include <algorithm>
#include <array>
#include <climits>
#include <iterator>

namespace tintype {

namespace {

constexpr uintptr_t kAlignment = 16;  // of what kernels load at once

Status failed(const Cudnn& library, int code, const char* doing) {
  if (code == cudnn::kSuccess) return {};
  const char* text = library.status_text(code);
  return {code / 1000 == 3 ? StatusCode::unsupported : StatusCode::internal,
          std::string(doing) + ": " +
              (text == nullptr ? "error " + std::to_string(code) : std::string(text))};
}

int type_of(DType t) {
  return t == DType::bf16 ? cudnn::kBf16 : t == DType::f16 ? cudnn::kHalf : cudnn::kFloat;
}

bool is_usable(const LibraryOperand& o) {
  int64_t dense = 1;
  for (size_t i = o.extents.size(); i-- > 0;) {
    if (o.extents[i] > INT_MAX || (o.extents[i] > 1 && o.strides[i] != dense)) return false;
    dense *= o.extents[i];
  }
  return !o.moves && reinterpret_cast<uintptr_t>(*o.address) % kAlignment == 0;
}

class ConvolutionPlan final : public LibraryPlan {
 public:
  ConvolutionPlan(const Cudnn& library, CudaQueue& queue, LibraryOperands operands, bool gradient)
      : l_(library), queue_(queue), o_(std::move(operands)), gradient_(gradient),
        input_(library.tensor_destroy), output_(library.tensor_destroy),
        bias_(library.tensor_destroy), weights_(library.filter_destroy),
        convolution_(library.convolution_destroy), activation_(library.activation_destroy) {}

  Status prepare(const LibraryCall& call) {
    for (const LibraryOperand* o : {&o_.left, &o_.right, &o_.bias, &o_.residual, &o_.result})
      if (o->present() && !is_usable(*o))
        return {StatusCode::unsupported, "a tensor is strided, too large, or not aligned"};
    const Result<void*> handle = queue_.cudnn(l_);
    if (!handle.ok()) return handle.status();
    handle_ = handle.value();
    // A weight gradient reads the output's gradient and writes weights.
    const LibraryOperand& output = gradient_ ? o_.right : o_.result;
    const LibraryOperand& weights = gradient_ ? o_.result : o_.right;
    if (Status s = tensor(input_, o_.left.extents, o_.left.type); !s.ok()) return s;
    if (Status s = tensor(output_, output.extents, output.type); !s.ok()) return s;
    if (Status s = filter(weights); !s.ok()) return s;
    if (Status s = convolution(call); !s.ok()) return s;
    if (fused())
      if (Status s = epilogue(call, output.extents[3]); !s.ok()) return s;
    return choose(call);
  }

  Status run() override {
    queue_.note_busy();
    const float one = 1, none = 0;
    const uint8_t *left = *o_.left.address, *right = *o_.right.address;
    auto* result = const_cast<uint8_t*>(*o_.result.address);
    auto* workspace = const_cast<uint8_t*>(*o_.workspace);
    if (gradient_)
      return failed(l_,
                    l_.filter_gradient(handle_, &one, input_.get(), left, output_.get(), right,
                                       convolution_.get(), algorithm_, workspace,
                                       o_.workspace_bytes, &none, weights_.get(), result),
                    "cudnnConvolutionBackwardFilter");
    if (!fused())
      return failed(l_,
                    l_.forward(handle_, &one, input_.get(), left, weights_.get(), right,
                               convolution_.get(), algorithm_, workspace, o_.workspace_bytes, &none,
                               output_.get(), result),
                    "cudnnConvolutionForward");
    const bool adds = o_.residual.present();
    return failed(l_,
                  l_.forward_fused(handle_, &one, input_.get(), left, weights_.get(), right,
                                   convolution_.get(), algorithm_, workspace, o_.workspace_bytes,
                                   adds ? &one : &none, output_.get(),
                                   adds ? *o_.residual.address : result, bias_.get(),
                                   *o_.bias.address, activation_.get(), output_.get(), result),
                  "cudnnConvolutionBiasActivationForward");
  }

 private:
  bool fused() const { return o_.bias.present(); }

  bool narrow() const { return o_.left.type != DType::f32; }

  Status tensor(LibraryDescriptor& to, std::span<const int64_t> e, DType type) {
    if (Status s = failed(l_, l_.tensor_create(to.put()), "cudnnCreateTensorDescriptor"); !s.ok())
      return s;
    const auto n = [&](size_t i) { return static_cast<int>(e[i]); };
    return failed(
        l_, l_.tensor_set(to.get(), cudnn::kChannelsLast, type_of(type), n(0), n(3), n(1), n(2)),
        "cudnnSetTensor4dDescriptor");
  }

  Status filter(const LibraryOperand& w) {
    if (Status s = failed(l_, l_.filter_create(weights_.put()), "cudnnCreateFilterDescriptor");
        !s.ok())
      return s;
    const auto n = [&](size_t i) { return static_cast<int>(w.extents[i]); };
    return failed(l_,
                  l_.filter_set(weights_.get(), type_of(w.type), cudnn::kChannelsLast, n(0), n(3),
                                n(1), n(2)),
                  "cudnnSetFilter4dDescriptor");
  }

  Status convolution(const LibraryCall& c) {
    if (Status s = failed(l_, l_.convolution_create(convolution_.put()),
                          "cudnnCreateConvolutionDescriptor");
        !s.ok())
      return s;
    const auto n = [](const std::vector<int64_t>& v, size_t i) { return static_cast<int>(v[i]); };
    if (Status s =
            failed(l_,
                   l_.convolution_set(convolution_.get(), n(c.padding, 0), n(c.padding, 1),
                                      n(c.strides, 0), n(c.strides, 1), n(c.dilations, 0),
                                      n(c.dilations, 1), cudnn::kCrossCorrelation, cudnn::kFloat),
                   "cudnnSetConvolution2dDescriptor");
        !s.ok())
      return s;
    if (Status s = failed(l_, l_.convolution_groups(convolution_.get(), static_cast<int>(c.group)),
                          "cudnnSetConvolutionGroupCount");
        !s.ok())
      return s;
    return math(narrow() ? cudnn::kTensorMath : c.tf32 ? cudnn::kAnyMath : cudnn::kFmaMath);
  }

  Status math(int kind) {
    return failed(l_, l_.convolution_math(convolution_.get(), kind), "cudnnSetConvolutionMathType");
  }

  Status epilogue(const LibraryCall& call, int64_t filters) {
    const std::array<int64_t, 4> channels = {1, 1, 1, filters};
    if (Status s = tensor(bias_, channels, DType::f32); !s.ok()) return s;
    if (Status s =
            failed(l_, l_.activation_create(activation_.put()), "cudnnCreateActivationDescriptor");
        !s.ok())
      return s;
    return failed(l_,
                  l_.activation_set(activation_.get(), call.relu ? cudnn::kRelu : cudnn::kIdentity,
                                    cudnn::kPropagateNan, 0),
                  "cudnnSetActivationDescriptor");
  }

  /// Whether an algorithm gives the same bits in every run, adds in the order of the window where
  /// it has to, and fits.
  bool usable(const LibraryCall& call, const cudnn::Candidate& c) const {
    if (c.status != cudnn::kSuccess || c.workspace > o_.workspace_bytes ||
        c.determinism != cudnn::kDeterministic)
      return false;
    if (fused() && !call.relu && c.algorithm != cudnn::kImplicitPrecomputed) return false;
    if (call.tf32 || narrow()) return true;
    const bool direct =
        gradient_ ? std::find(std::begin(cudnn::kFilterDirect), std::end(cudnn::kFilterDirect),
                              c.algorithm) != std::end(cudnn::kFilterDirect)
                  : c.algorithm < cudnn::kFirstTransform;
    return direct && (c.math == cudnn::kFmaMath || c.math == cudnn::kAnyMath);
  }

  Status choose(const LibraryCall& call) {
    std::array<cudnn::Candidate, cudnn::kForwardAlgorithms> list = {};
    int found = 0;
    const int code =
        gradient_
            ? l_.filter_candidates(handle_, input_.get(), output_.get(), convolution_.get(),
                                   weights_.get(), cudnn::kFilterAlgorithms, &found, list.data())
            : l_.forward_candidates(handle_, input_.get(), weights_.get(), convolution_.get(),
                                    output_.get(), cudnn::kForwardAlgorithms, &found, list.data());
    if (Status s = failed(l_, code,
                          gradient_ ? "cudnnGetConvolutionBackwardFilterAlgorithm_v7"
                                    : "cudnnGetConvolutionForwardAlgorithm_v7");
        !s.ok())
      return s;
    const auto end = list.begin() + std::clamp<int>(found, 0, static_cast<int>(list.size()));
    const auto best =
        std::find_if(list.begin(), end, [&](const cudnn::Candidate& c) { return usable(call, c); });
    if (best == end)
      return {StatusCode::unsupported,
              "cuDNN has no deterministic algorithm with a workspace of at most " +
                  std::to_string(o_.workspace_bytes) + " bytes"};
    algorithm_ = best->algorithm;
    return math(call.tf32 || narrow() ? best->math : cudnn::kFmaMath);
  }

  const Cudnn& l_;
  CudaQueue& queue_;
  const LibraryOperands o_;
  const bool gradient_;
  void* handle_ = nullptr;
  LibraryDescriptor input_, output_, bias_, weights_, convolution_, activation_;
  int algorithm_ = 0;
};

}  // namespace

Result<std::unique_ptr<LibraryPlan>> prepare_convolution(const LibraryCall& call,
                                                         const LibraryOperands& operands,
                                                         CudaQueue& queue) {
  const CudaLibraries& libraries = cuda_libraries();
  if (libraries.cudnn == nullptr) return Status(StatusCode::unsupported, libraries.no_cudnn);
  auto plan = std::make_unique<ConvolutionPlan>(*libraries.cudnn, queue, operands,
                                                call.kind == LibraryCall::Kind::weight_gradient);
  if (Status s = plan->prepare(call); !s.ok()) return s;
  return std::unique_ptr<LibraryPlan>(std::move(plan));
}

}  // namespace tintype
