// Host ops that multiply and accumulate: dot and conv. Floats accumulate in double.
#include "runtime/host_broadcast.h"
#include "runtime/host_elements.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"

#include <algorithm>

namespace tintype {

namespace {

constexpr int64_t kWidth = 64;  ///< result columns computed together

template <typename A>
A multiply_add(A acc, A x, A y) {
  if constexpr (std::is_integral_v<A>)  // integers wrap
    return static_cast<A>(static_cast<uint64_t>(acc) +
                          static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
  else return acc + x * y;
}

/// Columns of a weight matrix, plain or in panels of `block` columns.
struct Columns {
  int64_t count, block, rows;  ///< block 0: plain [rows, count]; else [count / block, rows, block]

  /// Where row 0 of column n lies, and how far the next row is.
  int64_t offset(int64_t n) const { return block == 0 ? n : n / block * rows * block + n % block; }
  int64_t stride() const { return block == 0 ? count : block; }
  /// Columns from n that lie next to each other, at most kWidth and before `end`.
  int64_t run(int64_t n, int64_t end) const {
    const int64_t left = block == 0 ? end - n : std::min(end - n, block - n % block);
    return std::min(left, kWidth);
  }
};

/// Adds the products of `rows` elements of x (at the given stride) with weight rows to acc[0, n).
template <typename T>
void accumulate(Accumulator<T>* acc, int64_t n, const T* x, int64_t x_stride, const T* w,
                int64_t w_stride, int64_t rows) {
  using A = Accumulator<T>;
  for (int64_t k = 0; k < rows; ++k) {
    const A value = static_cast<A>(load(x[k * x_stride]));
    const T* row = w + k * w_stride;
    for (int64_t i = 0; i < n; ++i)
      acc[i] = multiply_add(acc[i], value, static_cast<A>(load(row[i])));
  }
}

/// Stores sums of products of T as elements of the result, which are T, or f32 where T is narrower.
template <typename T>
class Sums {
 public:
  explicit Sums(Tensor& out)
      : to_(static_cast<std::byte*>(out.mutable_data())), size_(size_of(out.dtype())) {}

  void put(int64_t at, Accumulator<T> sum) const {
    const auto value = static_cast<Compute<T>>(sum);
    std::byte* to = to_ + static_cast<size_t>(at) * size_;
    if (sizeof(T) == size_) *reinterpret_cast<T*>(to) = store<T>(value);
    else *reinterpret_cast<Compute<T>*>(to) = value;
  }

 private:
  std::byte* to_;
  size_t size_;
};

/// The result's type may be f32 where operands have 16 bits.
bool fits_operands(DType result, DType operands) {
  const bool narrow = operands == DType::bf16 || operands == DType::f16;
  return result == operands || (narrow && result == DType::f32);
}

/// The left side of a product, in f32 where bf16 meets weights in terms.
Tensor left_side(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  if (call.attributes.integer("terms", 0) == 0 || x.dtype() != DType::bf16) return x;
  Tensor wide = Tensor::empty(DType::f32, x.dims());
  std::transform(x.values<uint16_t>().begin(), x.values<uint16_t>().end(),
                 wide.mutable_values<float>().begin(), bf16_to_f32);
  return wide;
}

/// The weights of a product as the host ops read them, and the columns of the panels they lie in,
/// or 0. Those packed as terms are put together again, [stack..., depth, columns].
struct Weights {
  Tensor tensor;
  int64_t block;
};

Result<Weights> plain_weights(const HostCall& call, int64_t depth) {
  const Tensor& w = call.inputs[1];
  const int64_t block = call.attributes.integer("block", 0),
                terms = call.attributes.integer("terms", 0);
  if (terms > 0 && block > 0) {
    if (w.dtype() != DType::bf16 || w.rank() < 3 || call.outputs[0].rank() < 1)
      return invalid_argument("weights " + w.type_string() + " are not packed in terms");
    return Weights{unpacked_terms(w, terms, depth, call.outputs[0].dims().back()), 0};
  }
  return Weights{w, block};
}

/// Offsets of each matrix of a batch in an operand whose leading axes broadcast.
std::vector<int64_t> batch_offsets(std::span<const int64_t> batch, const Tensor& t, size_t inner) {
  const std::vector<int64_t> own = dense_strides(t.dims());
  const size_t rank = t.dims().size() - inner, missing = batch.size() - rank;
  std::vector<int64_t> strides(batch.size(), 0);
  for (size_t i = 0; i < rank; ++i)
    if (t.dims()[i] != 1) strides[missing + i] = own[i];
  std::vector<int64_t> offsets;
  Odometer walk(batch, strides);
  for (int64_t i = 0; i < element_count(batch); ++i, walk.next()) offsets.push_back(walk.offset());
  return offsets;
}

Status dot(const HostCall& call) {
  const Tensor a = left_side(call);
  Tensor& out = call.outputs[0];
  const Result<Weights> weights = plain_weights(call, a.rank() < 1 ? 0 : a.dims().back());
  if (!weights.ok()) return weights.status();
  const Tensor& b = weights.value().tensor;
  const int64_t block = weights.value().block;
  const size_t matrix = block > 0 ? 3 : 2;
  if (!fits_operands(out.dtype(), a.dtype())) return unsupported_elements(out.dtype());
  if (a.rank() < 2 || b.dims().size() < matrix || out.rank() < 2 || a.dtype() != b.dtype() ||
      b.dims()[b.dims().size() - 2] != a.dims().back())
    return invalid_argument("cannot multiply " + a.type_string() + " by " + b.type_string());
  const std::span<const int64_t> batch = std::span(out.dims()).first(out.dims().size() - 2);
  const int64_t rows = out.dims()[batch.size()], inner = a.dims().back();
  const Columns columns{out.dims().back(), block, inner};
  const std::vector<int64_t> a_at = batch_offsets(batch, a, 2),
                             b_at = batch_offsets(batch, b, matrix);
  const int64_t work = std::max<int64_t>(1, columns.count * inner);
  return for_elements<kNumbers>(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = Accumulator<T>;
    const auto* x = static_cast<const T*>(a.data());
    const auto* w = static_cast<const T*>(b.data());
    const Sums<T> y(out);
    const auto body = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto matrix_index = static_cast<size_t>(i / rows);
        for (int64_t n = 0; n < columns.count;) {
          const int64_t width = columns.run(n, columns.count);
          A acc[kWidth] = {};
          accumulate<T>(acc, width, x + a_at[matrix_index] + i % rows * inner, 1,
                        w + b_at[matrix_index] + columns.offset(n), columns.stride(), inner);
          for (int64_t k = 0; k < width; ++k) y.put(i * columns.count + n + k, acc[k]);
          n += width;
        }
      }
    };
    parallel_for(rows * static_cast<int64_t>(a_at.size()), kHostGrain / work, body);
  });
}

/// Weights [gates, K, N] from [panels, K, gates, block], the columns that fill the last panel left
/// out.
Tensor unpacked_gates(const Tensor& w, int64_t columns) {
  const std::vector<int64_t>& d = w.dims();
  Tensor plain = Tensor::empty(w.dtype(), {d[2], d[1], columns});
  const size_t bytes = size_of(w.dtype());
  const auto* from = static_cast<const std::byte*>(w.data());
  auto* to = static_cast<std::byte*>(plain.mutable_data());
  for (int64_t g = 0; g < d[2]; ++g)
    for (int64_t k = 0; k < d[1]; ++k)
      for (int64_t n = 0; n < columns; n += d[3]) {
        const int64_t at = ((n / d[3] * d[1] + k) * d[2] + g) * d[3];
        std::copy_n(from + static_cast<size_t>(at) * bytes,
                    static_cast<size_t>(std::min(d[3], columns - n)) * bytes,
                    to + static_cast<size_t>((g * d[1] + k) * columns + n) * bytes);
      }
  return plain;
}

// The second product's gates, one by one, are added to the first's or stand behind them.
Status gate_products(const HostCall& call) {
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> places = call.attributes.integers("places");
  if (call.inputs.size() != 4 || out.rank() != 3) return invalid_argument("expected two products");
  const int64_t gate = out.dims()[1] * out.dims()[2];
  Tensor products[2];
  for (size_t i = 0; i < 2; ++i) {
    Tensor operands[2] = {call.inputs[2 * i], call.inputs[2 * i + 1]};
    if (call.attributes.integer("block", 0) > 0)
      operands[1] = unpacked_gates(operands[1], out.dims()[2]);
    products[i] = Tensor::empty(out.dtype(), {operands[1].dims()[0], out.dims()[1], out.dims()[2]});
    if (Status s = dot({operands, {&products[i], 1}, Attributes()}); !s.ok()) return s;
  }
  if (products[1].dims()[0] != static_cast<int64_t>(places.size()))
    return invalid_argument("places do not fit " + products[1].type_string());
  return for_elements<kNumbers>(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* y = static_cast<T*>(out.mutable_data());
    std::fill_n(y, out.size(), T{});
    std::copy_n(static_cast<const T*>(products[0].data()), products[0].size(), y);
    const auto* more = static_cast<const T*>(products[1].data());
    for (const int64_t place : places)
      for (int64_t i = 0; i < gate; ++i, ++more)
        y[place * gate + i] =
            store<T>(static_cast<Compute<T>>(load(y[place * gate + i]) + load(*more)));
  });
}

/// The geometry of a valid convolution on x[N, spatial..., C].
struct Window {
  std::vector<int64_t> extents, strides, dilations;
  std::vector<int64_t> x_strides;  ///< of the spatial axes of x
  std::vector<int64_t> taps;       ///< offset of each tap relative to the first
};

Result<Window> read_window(const HostCall& call, const Tensor& w, int64_t block) {
  const Tensor &x = call.inputs[0], &y = call.outputs[0];
  Window v;
  v.extents = call.attributes.integers("window");
  const size_t spatial = v.extents.size();
  const size_t weight_rank = spatial + (block > 0 ? 3 : 2);
  v.strides = per_axis(call.attributes, "strides", spatial, 1);
  v.dilations = per_axis(call.attributes, "dilations", spatial, 1);
  if (x.dims().size() != spatial + 2 || y.dims().size() != spatial + 2 ||
      w.dims().size() != weight_rank || v.strides.size() != spatial ||
      v.dilations.size() != spatial || x.dtype() != w.dtype())
    return invalid_argument("weights " + w.type_string() + " do not fit " + x.type_string());
  const std::vector<int64_t> strides = dense_strides(x.dims());
  v.x_strides.assign(strides.begin() + 1, strides.end() - 1);
  std::vector<int64_t> tap_strides;
  for (size_t i = 0; i < spatial; ++i) {
    if (!windows_fit(x.dims()[i + 1], y.dims()[i + 1], v.extents[i], v.strides[i], v.dilations[i]))
      return invalid_argument("the window leaves axis " + std::to_string(i + 1) + " of " +
                              x.type_string());
    // A step that is never taken may be as long as it likes.
    if (y.dims()[i + 1] <= 1) v.strides[i] = 0;
    if (y.size() != 0)
      tap_strides.push_back(v.x_strides[i] * (v.extents[i] > 1 ? v.dilations[i] : 0));
  }
  if (y.size() == 0) return v;  // where the window may be larger than x
  Odometer walk(v.extents, tap_strides);
  for (int64_t i = 0; i < element_count(v.extents); ++i, walk.next())
    v.taps.push_back(walk.offset());
  return v;
}

Status conv(const HostCall& call) {
  const Tensor x = left_side(call);
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> extents = call.attributes.integers("window");
  const int64_t group = std::max<int64_t>(1, call.attributes.integer("group", 1));
  const bool terms = call.attributes.integer("terms", 0) > 0;
  if (x.rank() < 1 || out.rank() < 1 || extents.empty())
    return invalid_argument("no window over " + x.type_string());
  const int64_t channels = x.dims().back() / group;
  // A row of terms is a line of the window.
  const Result<Weights> weights_read =
      plain_weights(call, terms ? extents.back() * channels : channels);
  if (!weights_read.ok()) return weights_read.status();
  Tensor w = weights_read.value().tensor;
  const int64_t block = weights_read.value().block;
  if (terms && block == 0) {
    std::vector<int64_t> dims = extents;
    dims.insert(dims.end(), {channels, out.dims().back()});
    w = w.reshaped(dims);
  }
  const Result<Window> window = read_window(call, w, block);
  if (!window.ok()) return window.status();
  const Window& v = window.value();
  const int64_t filters = out.dims().back();
  const auto taps = static_cast<int64_t>(v.taps.size());
  const Columns columns{filters, block, taps * channels};
  if (!fits_operands(out.dtype(), x.dtype())) return unsupported_elements(out.dtype());
  if (filters % group != 0 || w.dims()[w.dims().size() - 2] != channels)
    return invalid_argument("weights " + w.type_string() + " do not fit " + x.type_string() +
                            " in " + std::to_string(group) + " groups");
  // Strides of x for a step of each result axis but the last.
  std::vector<int64_t> step = {dense_strides(x.dims())[0]};
  for (size_t i = 0; i < v.strides.size(); ++i) step.push_back(v.x_strides[i] * v.strides[i]);
  const std::span<const int64_t> positions = std::span(out.dims()).first(step.size());
  const int64_t work = std::max<int64_t>(1, filters * taps * channels);
  return for_elements<kNumbers>(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = Accumulator<T>;
    const auto* from = static_cast<const T*>(x.data());
    const auto* weights = static_cast<const T*>(w.data());
    const Sums<T> y(out);
    parallel_for(element_count(positions), kHostGrain / work, [&](int64_t begin, int64_t end) {
      Odometer walk(positions, step);
      walk.seek(begin);
      for (int64_t p = begin; p < end; ++p, walk.next())
        for (int64_t f = 0; f < filters;) {
          const int64_t g = f / (filters / group);
          const int64_t width = columns.run(f, (g + 1) * (filters / group));
          A acc[kWidth] = {};
          for (int64_t t = 0; t < taps; ++t)
            accumulate<T>(acc, width,
                          from + walk.offset() + v.taps[static_cast<size_t>(t)] + g * channels, 1,
                          weights + columns.offset(f) + t * channels * columns.stride(),
                          columns.stride(), channels);
          for (int64_t k = 0; k < width; ++k) y.put(p * filters + f + k, acc[k]);
          f += width;
        }
    });
  });
}

constexpr HostOp kOps[] = {
    {"dot", dot, 2, 2},
    {"gate_products", gate_products, 4, 4},
    {"conv", conv, 2, 2},
};

}  // namespace

std::span<const HostOp> contraction_host_ops() { return kOps; }

}  // namespace tintype
