// The runtime's own declarations of cuBLASLt and cuDNN against NVIDIA's headers, where there are
// any (CMake looks for them): values, sizes, places of members, and the types of all functions.
#include "runtime/cuda/libraries.h"

#include <gtest/gtest.h>

#if __has_include(<cublasLt.h>) && __has_include(<cudnn.h>)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <cublasLt.h>
#include <cudnn.h>
#include <type_traits>

namespace tintype {

namespace {

/// The same to a caller: pointers for pointers, numbers of the same size and kind for numbers.
template <typename Ours, typename Theirs>
constexpr bool same_argument() {
  if constexpr (std::is_pointer_v<Ours> || std::is_pointer_v<Theirs>)
    return std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>;
  else
    return sizeof(Ours) == sizeof(Theirs) &&
           std::is_floating_point_v<Ours> == std::is_floating_point_v<Theirs>;
}

template <typename Ours, typename Theirs>
struct Same : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
  requires(sizeof...(A) == sizeof...(B))
struct Same<R(A...), S(B...)>
    : std::bool_constant<same_argument<R, S>() && (same_argument<A, B>() && ...)> {};

#define TINTYPE_CHECK_FUNCTION(member, function, ...) \
  static_assert(Same<__VA_ARGS__, decltype(::function)>::value, #function);
TINTYPE_CUBLASLT(TINTYPE_CHECK_FUNCTION)
TINTYPE_CUDNN(TINTYPE_CHECK_FUNCTION)

namespace lt = cublaslt;
static_assert(lt::kSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(lt::kInvalidValue == CUBLAS_STATUS_INVALID_VALUE);
static_assert(lt::kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(lt::kComputePedantic == CUBLAS_COMPUTE_32F_PEDANTIC);
static_assert(lt::kComputeTf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(lt::kCompute32f == CUBLAS_COMPUTE_32F);
static_assert(lt::kFloat == CUDA_R_32F && lt::kHalf == CUDA_R_16F && lt::kBf16 == CUDA_R_16BF);
static_assert(lt::kBatchCount == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(lt::kBatchStride == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(lt::kTransposeA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(lt::kTransposeB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(lt::kEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(lt::kBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(lt::kPlain == CUBLAS_OP_N && lt::kTransposed == CUBLAS_OP_T);
static_assert(lt::kNoEpilogue == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(lt::kRelu == CUBLASLT_EPILOGUE_RELU);
static_assert(lt::kBias == CUBLASLT_EPILOGUE_BIAS);
static_assert(lt::kReluBias == CUBLASLT_EPILOGUE_RELU_BIAS);
static_assert(lt::kMostWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(lt::kAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(lt::kAlignmentB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(lt::kAlignmentC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(lt::kAlignmentD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::Candidate) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(lt::Candidate, algorithm) ==
              offsetof(cublasLtMatmulHeuristicResult_t, algo));
static_assert(offsetof(lt::Candidate, workspace) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(lt::Candidate, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
// The attributes that are set have these types.
static_assert(sizeof(cublasOperation_t) == sizeof(int32_t));
static_assert(sizeof(cublasLtEpilogue_t) == sizeof(int32_t));

static_assert(cudnn::kSuccess == CUDNN_STATUS_SUCCESS);
static_assert(CUDNN_STATUS_NOT_SUPPORTED / 1000 == 3);
static_assert(cudnn::kFloat == CUDNN_DATA_FLOAT && cudnn::kHalf == CUDNN_DATA_HALF &&
              cudnn::kBf16 == CUDNN_DATA_BFLOAT16);
static_assert(cudnn::kTensorMath == CUDNN_TENSOR_OP_MATH);
static_assert(cudnn::kChannelsLast == CUDNN_TENSOR_NHWC);
static_assert(cudnn::kCrossCorrelation == CUDNN_CROSS_CORRELATION);
static_assert(cudnn::kAnyMath == CUDNN_DEFAULT_MATH && cudnn::kFmaMath == CUDNN_FMA_MATH);
static_assert(cudnn::kDeterministic == CUDNN_DETERMINISTIC);
static_assert(cudnn::kIdentity == CUDNN_ACTIVATION_IDENTITY);
static_assert(cudnn::kRelu == CUDNN_ACTIVATION_RELU);
static_assert(cudnn::kPropagateNan == CUDNN_PROPAGATE_NAN);
static_assert(cudnn::kImplicitPrecomputed == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
static_assert(cudnn::kFirstTransform == CUDNN_CONVOLUTION_FWD_ALGO_FFT);
static_assert(CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING > cudnn::kFirstTransform &&
              CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD > cudnn::kFirstTransform &&
              CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED > cudnn::kFirstTransform);
static_assert(cudnn::kFilterDirect[0] == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 &&
              cudnn::kFilterDirect[1] == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 &&
              cudnn::kFilterDirect[2] == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3);
static_assert(cudnn::kForwardAlgorithms == CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
static_assert(cudnn::kFilterAlgorithms == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);

template <typename Theirs>
constexpr bool same_candidate() {
  return sizeof(cudnn::Candidate) == sizeof(Theirs) &&
         offsetof(cudnn::Candidate, algorithm) == offsetof(Theirs, algo) &&
         offsetof(cudnn::Candidate, status) == offsetof(Theirs, status) &&
         offsetof(cudnn::Candidate, milliseconds) == offsetof(Theirs, time) &&
         offsetof(cudnn::Candidate, workspace) == offsetof(Theirs, memory) &&
         offsetof(cudnn::Candidate, determinism) == offsetof(Theirs, determinism) &&
         offsetof(cudnn::Candidate, math) == offsetof(Theirs, mathType);
}
static_assert(same_candidate<cudnnConvolutionFwdAlgoPerf_t>());
static_assert(same_candidate<cudnnConvolutionBwdFilterAlgoPerf_t>());

}  // namespace

}  // namespace tintype

#pragma GCC diagnostic pop

TEST(LibraryHeaders, DeclareWhatTheRuntimeDeclares) { SUCCEED() << "checked when compiled"; }

#else

TEST(LibraryHeaders, DeclareWhatTheRuntimeDeclares) {
  GTEST_SKIP() << "no cublasLt.h and cudnn.h on this computer";
}

#endif
