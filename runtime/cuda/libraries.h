// NVIDIA's libraries of products and convolutions as tables of functions, found at run time. Only
// what is used of their C interfaces is declared; tests/cuda/library_headers_test.cpp holds every
// value, size and type against NVIDIA's headers.
#pragma once

#include "runtime/status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace tintype {

// ---- cuBLASLt -------------------------------------------------------------------------------

namespace cublaslt {

constexpr int kSuccess = 0, kInvalidValue = 7, kNotSupported = 15;         // cublasStatus_t
constexpr int kCompute32f = 68, kComputePedantic = 69, kComputeTf32 = 77;  // cublasComputeType_t
constexpr int kFloat = 0, kHalf = 2, kBf16 = 14;  // CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF
constexpr int kBatchCount = 5, kBatchStride = 6;  // cublasLtMatrixLayoutAttribute_t
// cublasLtMatmulDescAttributes_t
constexpr int kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8;
constexpr int kPlain = 0, kTransposed = 1;  // cublasOperation_t
// cublasLtEpilogue_t
constexpr int kNoEpilogue = 1, kRelu = 2, kBias = 4, kReluBias = 6;
// cublasLtMatmulPreferenceAttributes_t
constexpr int kMostWorkspace = 1, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7,
              kAlignmentD = 8;

struct Algorithm {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};
struct Candidate {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

}  // namespace cublaslt

/// member, function of libcublasLt.so, type.
#define TINTYPE_CUBLASLT(X)                                                                     \
  X(version, cublasLtGetVersion, size_t())                                                      \
  X(status_text, cublasLtGetStatusString, const char*(int))                                     \
  X(create, cublasLtCreate, int(void**))                                                        \
  X(destroy, cublasLtDestroy, int(void*))                                                       \
  X(layout_create, cublasLtMatrixLayoutCreate, int(void**, int, uint64_t, uint64_t, int64_t))   \
  X(layout_destroy, cublasLtMatrixLayoutDestroy, int(void*))                                    \
  X(layout_set, cublasLtMatrixLayoutSetAttribute, int(void*, int, const void*, size_t))         \
  X(product_create, cublasLtMatmulDescCreate, int(void**, int, int))                            \
  X(product_destroy, cublasLtMatmulDescDestroy, int(void*))                                     \
  X(product_set, cublasLtMatmulDescSetAttribute, int(void*, int, const void*, size_t))          \
  X(preference_create, cublasLtMatmulPreferenceCreate, int(void**))                             \
  X(preference_destroy, cublasLtMatmulPreferenceDestroy, int(void*))                            \
  X(preference_set, cublasLtMatmulPreferenceSetAttribute, int(void*, int, const void*, size_t)) \
  X(candidates, cublasLtMatmulAlgoGetHeuristic,                                                 \
    int(void*, void*, void*, void*, void*, void*, void*, int, cublaslt::Candidate*, int*))      \
  X(multiply, cublasLtMatmul,                                                                   \
    int(void*, void*, const void*, const void*, void*, const void*, void*, const void*,         \
        const void*, void*, void*, void*, const cublaslt::Algorithm*, void*, size_t, void*))

// ---- cuDNN ----------------------------------------------------------------------------------

namespace cudnn {

constexpr int kSuccess = 0;                      // cudnnStatus_t; 3000 to 3999 is not supported
constexpr int kFloat = 0, kHalf = 2, kBf16 = 9;  // CUDNN_DATA_FLOAT, _HALF, _BFLOAT16
constexpr int kChannelsLast = 1;                 // CUDNN_TENSOR_NHWC
constexpr int kCrossCorrelation = 1;             // cudnnConvolutionMode_t
// cudnnMathType_t: default, which allows TF32; tensor cores, for operands of 16 bits; FMA only
constexpr int kAnyMath = 0, kTensorMath = 1, kFmaMath = 3;
constexpr int kDeterministic = 1;        // cudnnDeterminism_t
constexpr int kIdentity = 5, kRelu = 1;  // cudnnActivationMode_t
constexpr int kPropagateNan = 1;         // cudnnNanPropagation_t
constexpr int kImplicitPrecomputed = 1;  // CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM
/// Of forward algorithms, those from here on are Fourier's and Winograd's.
constexpr int kFirstTransform = 4;  // CUDNN_CONVOLUTION_FWD_ALGO_FFT
// cudnnConvolutionBwdFilterAlgo_t: the algorithms that are neither
constexpr int kFilterDirect[] = {0, 1, 3};
constexpr int kForwardAlgorithms = 8, kFilterAlgorithms = 7;

struct Candidate {  // cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionBwdFilterAlgoPerf_t
  int algorithm, status;
  float milliseconds;
  size_t workspace;
  int determinism, math;
  int reserved[3];
};

}  // namespace cudnn

/// member, function of libcudnn.so, type.
#define TINTYPE_CUDNN(X)                                                                       \
  X(version, cudnnGetVersion, size_t())                                                        \
  X(status_text, cudnnGetErrorString, const char*(int))                                        \
  X(create, cudnnCreate, int(void**))                                                          \
  X(destroy, cudnnDestroy, int(void*))                                                         \
  X(set_stream, cudnnSetStream, int(void*, void*))                                             \
  X(tensor_create, cudnnCreateTensorDescriptor, int(void**))                                   \
  X(tensor_destroy, cudnnDestroyTensorDescriptor, int(void*))                                  \
  X(tensor_set, cudnnSetTensor4dDescriptor, int(void*, int, int, int, int, int, int))          \
  X(filter_create, cudnnCreateFilterDescriptor, int(void**))                                   \
  X(filter_destroy, cudnnDestroyFilterDescriptor, int(void*))                                  \
  X(filter_set, cudnnSetFilter4dDescriptor, int(void*, int, int, int, int, int, int))          \
  X(activation_create, cudnnCreateActivationDescriptor, int(void**))                           \
  X(activation_destroy, cudnnDestroyActivationDescriptor, int(void*))                          \
  X(activation_set, cudnnSetActivationDescriptor, int(void*, int, int, double))                \
  X(convolution_create, cudnnCreateConvolutionDescriptor, int(void**))                         \
  X(convolution_destroy, cudnnDestroyConvolutionDescriptor, int(void*))                        \
  X(convolution_set, cudnnSetConvolution2dDescriptor,                                          \
    int(void*, int, int, int, int, int, int, int, int))                                        \
  X(convolution_groups, cudnnSetConvolutionGroupCount, int(void*, int))                        \
  X(convolution_math, cudnnSetConvolutionMathType, int(void*, int))                            \
  X(forward_candidates, cudnnGetConvolutionForwardAlgorithm_v7,                                \
    int(void*, void*, void*, void*, void*, int, int*, cudnn::Candidate*))                      \
  X(forward, cudnnConvolutionForward,                                                          \
    int(void*, const void*, void*, const void*, void*, const void*, void*, int, void*, size_t, \
        const void*, void*, void*))                                                            \
  X(forward_fused, cudnnConvolutionBiasActivationForward,                                      \
    int(void*, const void*, void*, const void*, void*, const void*, void*, int, void*, size_t, \
        const void*, void*, const void*, void*, const void*, void*, void*, void*))             \
  X(filter_candidates, cudnnGetConvolutionBackwardFilterAlgorithm_v7,                          \
    int(void*, void*, void*, void*, void*, int, int*, cudnn::Candidate*))                      \
  X(filter_gradient, cudnnConvolutionBackwardFilter,                                           \
    int(void*, const void*, void*, const void*, void*, const void*, void*, int, void*, size_t, \
        const void*, void*, void*))

#define TINTYPE_LIBRARY_MEMBER(member, function, ...) \
  using member##_type = __VA_ARGS__;                  \
  member##_type* member = nullptr;
struct CublasLt {
  TINTYPE_CUBLASLT(TINTYPE_LIBRARY_MEMBER)
};
struct Cudnn {
  TINTYPE_CUDNN(TINTYPE_LIBRARY_MEMBER)
};
#undef TINTYPE_LIBRARY_MEMBER

/// The libraries of this machine, each null when it is not used, with the reason.
struct CudaLibraries {
  const CublasLt* cublaslt = nullptr;
  const Cudnn* cudnn = nullptr;
  std::string no_cublaslt, no_cudnn;
};

/// Loaded on the first call, or what set_cuda_libraries put in their place. Neither is used when
/// TINTYPE_CUDA_LIBRARIES is 0. Thread-safe.
const CudaLibraries& cuda_libraries();
/// For tests: `libraries`, which must outlive every use; null gives the machine's back.
void set_cuda_libraries(const CudaLibraries* libraries);

/// Unsupported, with the reason, when the library cannot be loaded, is too old (cuBLASLt of CUDA
/// 12, cuDNN 9) or lacks a function. It stays loaded.
Result<CublasLt> load_cublaslt(const char* library);
Result<Cudnn> load_cudnn(const char* library);

}  // namespace tintype
