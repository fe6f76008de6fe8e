// A cuDNN on the host: descriptors of dense tensors with the channels last, algorithms of which one
// may be used, convolutions and the gradients of their weights.
#include "tests/support/cuda/stand_in.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace tintype {

namespace {

using namespace stand_in;
using cudnn::Candidate;
constexpr int kBadParameter = 2000, kNotSupported = 3000, kInternalError = 4000,
              kExecutionFailed = 5000;

struct Tensor4 {  // n, c, h, w; or filters, channels, rows, columns
  int64_t n = 0, c = 0, h = 0, w = 0;
  int type = cudnn::kFloat;
  size_t count() const { return static_cast<size_t>(n * c * h * w); }
  size_t bytes() const { return element_bytes(type == cudnn::kFloat) * count(); }
  size_t at(int64_t i, int64_t y, int64_t x, int64_t channel) const {
    return static_cast<size_t>(((i * h + y) * w + x) * c + channel);
  }
};

struct Convolution {
  std::array<int, 2> padding, strides, dilations;
  int groups = 1, math = cudnn::kAnyMath;
};

struct Activation {
  int mode = -1;
};

template <typename F>
int call(const char* name, const F& work) {
  return enter(name, kInternalError, work);
}

struct Handle {
  void* stream = nullptr;
};

int set_extents(const char* name, void* object, int format, int type, int n, int c, int h, int w) {
  return call(name, [&] {
    const bool known = type == cudnn::kFloat || type == cudnn::kHalf || type == cudnn::kBf16;
    if (format != cudnn::kChannelsLast || !known || std::min({n, c, h, w}) < 1)
      return note("a tensor that this stand-in does not know", kBadParameter);
    *static_cast<Tensor4*>(object) = {n, c, h, w, type};
    return 0;
  });
}

/// Why a convolution does not fit its tensors, or "".
std::string problem(const Tensor4& x, const Tensor4& w, const Convolution& c, const Tensor4& y) {
  const auto out = [&](int64_t size, int64_t window, size_t i) {
    return (size + 2 * c.padding[i] - ((window - 1) * c.dilations[i] + 1)) / c.strides[i] + 1;
  };
  if (x.n != y.n || w.n != y.c || w.c * c.groups != x.c || w.n % c.groups != 0 ||
      out(x.h, w.h, 0) != y.h || out(x.w, w.w, 1) != y.w)
    return "tensors of a convolution do not fit";
  if (x.type != w.type || x.type != y.type) return "tensors of a convolution differ in type";
  if (x.type != cudnn::kFloat && c.math != cudnn::kTensorMath)
    return "a convolution of 16 bits without tensor cores";
  return "";
}

template <typename T>
const T& as(const void* object) {
  return *static_cast<const T*>(object);
}

/// Three algorithms: one without a kernel, one that may give other bits in another run, and one to
/// be taken.
int candidates(const char* name, const void* x, const void* w, const void* c, const void* y,
               int most, int* found, Candidate* list) {
  return call(name, [&] {
    const auto& conv = as<Convolution>(c);
    const std::string wrong = problem(as<Tensor4>(x), as<Tensor4>(w), conv, as<Tensor4>(y));
    if (!wrong.empty() || most < 3) return note(wrong, kBadParameter);
    const int math = conv.math == cudnn::kFmaMath ? cudnn::kFmaMath : cudnn::kTensorMath;
    list[0] = {6, kNotSupported, -1, 0, cudnn::kDeterministic, math, {}};
    list[1] = {0, 0, 1, 0, 0, math, {}};
    list[2] = {1, 0, 2, library_workspace(), cudnn::kDeterministic, math, {}};
    *found = 3;
    return 0;
  });
}

struct Call {
  Tensor4 x, w, y;
  Convolution c;
  const void *from, *other, *residual, *bias;
  void *to, *workspace;
  bool relu;
};

template <typename Each>
void each_product(const Call& k, const Each& each) {
  const int64_t filters = k.w.n / k.c.groups;
  for (int64_t n = 0; n < k.y.n; ++n)
    for (int64_t p = 0; p < k.y.h; ++p)
      for (int64_t q = 0; q < k.y.w; ++q)
        for (int64_t f = 0; f < k.y.c; ++f)
          for (int64_t r = 0; r < k.w.h; ++r)
            for (int64_t s = 0; s < k.w.w; ++s) {
              const int64_t row = p * k.c.strides[0] + r * k.c.dilations[0] - k.c.padding[0];
              const int64_t column = q * k.c.strides[1] + s * k.c.dilations[1] - k.c.padding[1];
              if (row < 0 || row >= k.x.h || column < 0 || column >= k.x.w) continue;
              for (int64_t c = 0; c < k.w.c; ++c)
                each(k.y.at(n, p, q, f), k.w.at(f, r, s, c),
                     k.x.at(n, row, column, f / filters * k.w.c + c));
            }
}

bool clear_workspace(const Call& k) {
  std::byte* workspace = memory(k.workspace, library_workspace());
  if (workspace == nullptr) return false;
  std::memset(workspace, 0xEE, library_workspace());
  return touch(k.workspace, library_workspace(), true) == 0;
}

Elements read(const void* address, const Tensor4& t) {
  return {memory(address, t.bytes()), t.type == cudnn::kFloat, t.type == cudnn::kBf16};
}

const float* floats(const void* address, size_t count) {
  return reinterpret_cast<const float*>(memory(address, 4 * count));
}

int convolve(const Call& k) {
  const Elements x = read(k.from, k.x), w = read(k.other, k.w), result = read(k.to, k.y);
  std::byte* y = memory(k.to, k.y.bytes());
  const float* bias = k.bias == nullptr ? nullptr : floats(k.bias, static_cast<size_t>(k.y.c));
  const float* residual = k.residual == nullptr ? nullptr : floats(k.residual, k.y.count());
  if (x.at == nullptr || w.at == nullptr || y == nullptr || !clear_workspace(k) ||
      (k.bias != nullptr && bias == nullptr) || (k.residual != nullptr && residual == nullptr))
    return note("a convolution reads or writes outside of all blocks", 700);
  if (touch(k.from, k.x.bytes(), false) != 0 || touch(k.other, k.w.bytes(), false) != 0 ||
      (bias != nullptr && touch(k.bias, 4 * static_cast<size_t>(k.y.c), false) != 0) ||
      (residual != nullptr && touch(k.residual, 4 * k.y.count(), false) != 0) ||
      touch(k.to, k.y.bytes(), true) != 0)
    return 700;
  const bool rounded = k.c.math != cudnn::kFmaMath && x.wide;
  std::vector<double> sums(k.y.count());
  each_product(k, [&](size_t out, size_t weight, size_t in) {
    sums[out] += double{operand(x[in], rounded)} * double{operand(w[weight], rounded)};
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    auto value = static_cast<float>(sums[i]);
    if (residual != nullptr) value += residual[i];
    if (bias != nullptr) value += bias[i % static_cast<size_t>(k.y.c)];
    result.put(y, i, k.relu ? std::max(value, 0.0f) : value);
  }
  return 0;
}

int weight_gradient(const Call& k) {
  const Elements x = read(k.from, k.x), dy = read(k.other, k.y), result = read(k.to, k.w);
  std::byte* dw = memory(k.to, k.w.bytes());
  if (x.at == nullptr || dy.at == nullptr || dw == nullptr || !clear_workspace(k))
    return note("a weight gradient reads or writes outside of all blocks", 700);
  if (touch(k.from, k.x.bytes(), false) != 0 || touch(k.other, k.y.bytes(), false) != 0 ||
      touch(k.to, k.w.bytes(), true) != 0)
    return 700;
  const bool rounded = k.c.math != cudnn::kFmaMath && x.wide;
  std::vector<double> sums(k.w.count());
  each_product(k, [&](size_t out, size_t weight, size_t in) {
    sums[weight] += double{operand(x[in], rounded)} * double{operand(dy[out], rounded)};
  });
  for (size_t i = 0; i < sums.size(); ++i) result.put(dw, i, static_cast<float>(sums[i]));
  return 0;
}

int start(const Call& k, void* handle, int algorithm, size_t bytes, int (*work)(const Call&)) {
  if (const std::string wrong = problem(k.x, k.w, k.c, k.y); !wrong.empty())
    return note(wrong, kBadParameter);
  if (algorithm != 1 || bytes < library_workspace())
    return note("a convolution with the wrong algorithm, or without its workspace", kBadParameter);
  for (const void* p : {k.from, k.other, k.residual, k.bias, static_cast<const void*>(k.to)})
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0)
      return note("an operand of a convolution is not aligned", kBadParameter);
  if (!interprets()) return 0;
  return enqueue("a call of cuDNN", static_cast<Handle*>(handle)->stream,
                 [k, work] { return work(k); }) == 0
             ? 0
             : kExecutionFailed;
}

int forward(void* handle, const void*, void* x, const void* from, void* w, const void* weights,
            void* c, int algorithm, void* workspace, size_t bytes, const void*, void* y, void* to) {
  return call("cudnnConvolutionForward", [&] {
    const Call k = {as<Tensor4>(x),
                    as<Tensor4>(w),
                    as<Tensor4>(y),
                    as<Convolution>(c),
                    from,
                    weights,
                    nullptr,
                    nullptr,
                    to,
                    workspace,
                    false};
    return start(k, handle, algorithm, bytes, convolve);
  });
}

int forward_fused(void* handle, const void*, void* x, const void* from, void* w,
                  const void* weights, void* c, int algorithm, void* workspace, size_t bytes,
                  const void* scale, void* z, const void* residual, void* b, const void* bias,
                  void* activation, void* y, void* to) {
  return call("cudnnConvolutionBiasActivationForward", [&] {
    const int mode = as<Activation>(activation).mode;
    const bool adds = *static_cast<const float*>(scale) != 0;
    if ((mode != cudnn::kRelu && mode != cudnn::kIdentity) ||
        as<Tensor4>(b).c != as<Tensor4>(y).c || as<Tensor4>(z).bytes() != as<Tensor4>(y).bytes() ||
        as<Tensor4>(b).type != cudnn::kFloat || as<Tensor4>(y).type != cudnn::kFloat)
      return note("an epilogue that does not fit", kBadParameter);
    const Call k = {as<Tensor4>(x),
                    as<Tensor4>(w),
                    as<Tensor4>(y),
                    as<Convolution>(c),
                    from,
                    weights,
                    adds ? residual : nullptr,
                    bias,
                    to,
                    workspace,
                    mode == cudnn::kRelu};
    return start(k, handle, algorithm, bytes, convolve);
  });
}

int filter_gradient(void* handle, const void*, void* x, const void* from, void* y, const void* dy,
                    void* c, int algorithm, void* workspace, size_t bytes, const void*, void* w,
                    void* to) {
  return call("cudnnConvolutionBackwardFilter", [&] {
    const Call k = {as<Tensor4>(x),
                    as<Tensor4>(w),
                    as<Tensor4>(y),
                    as<Convolution>(c),
                    from,
                    dy,
                    nullptr,
                    nullptr,
                    to,
                    workspace,
                    false};
    return start(k, handle, algorithm, bytes, weight_gradient);
  });
}

Cudnn make_table() {
  Cudnn t;
  t.version = [] { return size_t{90000}; };
  t.status_text = [](int) { return "said the stand-in for cuDNN"; };
  t.create = [](void** out) { return make<Handle, kInternalError>("cudnnCreate", out); };
  t.destroy = [](void* h) { return drop<Handle, kInternalError>("cudnnDestroy", h); };
  t.set_stream = [](void* h, void* stream) {
    return call("cudnnSetStream", [&] { return static_cast<Handle*>(h)->stream = stream, 0; });
  };
  t.tensor_create = [](void** out) {
    return make<Tensor4, kInternalError>("cudnnCreateTensorDescriptor", out);
  };
  t.tensor_destroy = [](void* d) {
    return drop<Tensor4, kInternalError>("cudnnDestroyTensorDescriptor", d);
  };
  t.tensor_set = [](void* d, int format, int type, int n, int c, int h, int w) {
    return set_extents("cudnnSetTensor4dDescriptor", d, format, type, n, c, h, w);
  };
  t.filter_create = [](void** out) {
    return make<Tensor4, kInternalError>("cudnnCreateFilterDescriptor", out);
  };
  t.filter_destroy = [](void* d) {
    return drop<Tensor4, kInternalError>("cudnnDestroyFilterDescriptor", d);
  };
  t.filter_set = [](void* d, int type, int format, int n, int c, int h, int w) {
    return set_extents("cudnnSetFilter4dDescriptor", d, format, type, n, c, h, w);
  };
  t.activation_create = [](void** out) {
    return make<Activation, kInternalError>("cudnnCreateActivationDescriptor", out);
  };
  t.activation_destroy = [](void* d) {
    return drop<Activation, kInternalError>("cudnnDestroyActivationDescriptor", d);
  };
  t.activation_set = [](void* d, int mode, int, double) {
    return call("cudnnSetActivationDescriptor",
                [&] { return static_cast<Activation*>(d)->mode = mode, 0; });
  };
  t.convolution_create = [](void** out) {
    return make<Convolution, kInternalError>("cudnnCreateConvolutionDescriptor", out);
  };
  t.convolution_destroy = [](void* d) {
    return drop<Convolution, kInternalError>("cudnnDestroyConvolutionDescriptor", d);
  };
  t.convolution_set = [](void* d, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int) {
    return call("cudnnSetConvolution2dDescriptor", [&] {
      if (mode != cudnn::kCrossCorrelation) return note("a window that is turned", kBadParameter);
      *static_cast<Convolution*>(d) = {{ph, pw}, {sh, sw}, {dh, dw}};
      return 0;
    });
  };
  t.convolution_groups = [](void* d, int n) {
    return call("cudnnSetConvolutionGroupCount",
                [&] { return static_cast<Convolution*>(d)->groups = n, 0; });
  };
  t.convolution_math = [](void* d, int math) {
    return call("cudnnSetConvolutionMathType",
                [&] { return static_cast<Convolution*>(d)->math = math, 0; });
  };
  t.forward_candidates = [](void*, void* x, void* w, void* c, void* y, int most, int* found,
                            Candidate* list) {
    return candidates("cudnnGetConvolutionForwardAlgorithm_v7", x, w, c, y, most, found, list);
  };
  t.forward = forward;
  t.forward_fused = forward_fused;
  t.filter_candidates = [](void*, void* x, void* dy, void* c, void* dw, int most, int* found,
                           Candidate* list) {
    return candidates("cudnnGetConvolutionBackwardFilterAlgorithm_v7", x, dw, c, dy, most, found,
                      list);
  };
  t.filter_gradient = filter_gradient;
  return t;
}

}  // namespace

const Cudnn& CudaStandIn::cudnn() {
  static const Cudnn table = make_table();
  return table;
}

}  // namespace tintype
