// The loop behind pointwise host ops: numpy broadcasting, merged dimensions, rows, several threads.
#pragma once

#include "runtime/status.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"

#include <algorithm>
#include <array>
#include <span>

namespace tintype {

/// Elements that are worth handing to another thread.
inline constexpr int64_t kHostGrain = 16 << 10;

/// kCount operands broadcast to one shape, as few dimensions as possible, outermost first.
template <size_t kCount>
class Broadcast {
 public:
  using Offsets = std::array<int64_t, kCount>;

  Broadcast(const std::vector<int64_t>& dims, std::span<const Tensor> operands) {
    count_ = element_count(dims);
    std::array<int64_t, kCount> next;
    next.fill(1);
    for (size_t i = dims.size(); i-- > 0;) {
      Dim d{dims[i], {}};
      for (size_t k = 0; k < kCount; ++k) {
        const std::vector<int64_t>& shape = operands[k].dims();
        const size_t missing = dims.size() - shape.size();
        const int64_t extent = i < missing ? 1 : shape[i - missing];
        d.strides[k] = extent == 1 ? 0 : next[k];
        next[k] *= extent;
      }
      if (dims[i] != 1) add_outer(d);
    }
    if (dims_.empty()) dims_.push_back({1, {}});
    std::reverse(dims_.begin(), dims_.end());
  }

  /// Checks that each operand has the extent of the result or 1 on every axis.
  static Status check(const Tensor& out, std::span<const Tensor> operands) {
    for (const Tensor& t : operands) {
      const size_t rank = out.dims().size(), own = t.dims().size();
      bool fits = own <= rank;
      for (size_t i = 0; fits && i < own; ++i)
        fits = t.dims()[i] == 1 || t.dims()[i] == out.dims()[rank - own + i];
      if (!fits)
        return {StatusCode::internal,
                t.type_string() + " does not broadcast to " + out.type_string()};
    }
    return {};
  }

  /// Calls row(count, first result index, first operand offsets, operand strides) until all result
  /// elements are covered; operand strides are 0 or 1 wherever the operand is dense.
  template <typename Row>
  void for_rows(const Row& row) const {
    parallel_for(count_, kHostGrain, [&](int64_t begin, int64_t end) { walk(begin, end, row); });
  }

 private:
  struct Dim {
    int64_t extent;
    Offsets strides;
  };

  void add_outer(const Dim& d) {
    if (!dims_.empty()) {
      Dim& inner = dims_.back();
      bool merges = true;
      for (size_t k = 0; k < kCount; ++k)
        merges = merges && d.strides[k] == inner.strides[k] * inner.extent;
      if (merges) {
        inner.extent *= d.extent;
        return;
      }
    }
    dims_.push_back(d);
  }

  template <typename Row>
  void walk(int64_t begin, int64_t end, const Row& row) const {
    const size_t rank = dims_.size();
    std::array<int64_t, 32> index{};
    Offsets at{};
    for (int64_t rest = begin, i = static_cast<int64_t>(rank) - 1; i >= 0; --i) {
      const Dim& d = dims_[static_cast<size_t>(i)];
      index[static_cast<size_t>(i)] = rest % d.extent;
      rest /= d.extent;
      for (size_t k = 0; k < kCount; ++k) at[k] += index[static_cast<size_t>(i)] * d.strides[k];
    }
    const Dim& inner = dims_[rank - 1];
    for (int64_t n = begin; n < end;) {
      const int64_t length = std::min(inner.extent - index[rank - 1], end - n);
      row(length, n, at, inner.strides);
      n += length;
      for (size_t k = 0; k < kCount; ++k) at[k] += length * inner.strides[k];
      index[rank - 1] += length;
      for (size_t i = rank - 1; index[i] == dims_[i].extent; --i) {
        for (size_t k = 0; k < kCount; ++k) at[k] -= dims_[i].extent * dims_[i].strides[k];
        index[i] = 0;
        if (i == 0) break;
        ++index[i - 1];
        for (size_t k = 0; k < kCount; ++k) at[k] += dims_[i - 1].strides[k];
      }
    }
  }

  int64_t count_ = 0;
  std::vector<Dim> dims_;
};

}  // namespace tintype
