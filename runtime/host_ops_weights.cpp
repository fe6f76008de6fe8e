// Host ops that prepare weights once.
#include "runtime/host_broadcast.h"
#include "runtime/host_families.h"
#include "runtime/host_shapes.h"
#include "runtime/strided.h"
#include "runtime/tile_product.h"

#include <algorithm>
#include <cstring>

namespace tintype {

namespace {

/// Panels of bf16 terms: the axes of the panels' rows are the last but one, `rows` of them.
Status pack_terms(const HostCall& call, const std::vector<int64_t>& perm, int64_t terms) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const auto rows = static_cast<size_t>(call.attributes.integer("rows", 1));
  if (x.dtype() != DType::f32 || out.dtype() != DType::bf16 || terms > kMostTerms || rows < 1 ||
      rows > 2 || rows >= perm.size())
    return invalid_argument("cannot take " + x.type_string() + " apart into " +
                            std::to_string(terms) + " terms");
  const std::vector<int64_t> strides = dense_strides(x.dims());
  std::vector<int64_t> extents, steps;
  for (int64_t p : perm) {
    const auto axis = find_axis(p, x.rank());
    if (!axis) return axis_out_of_range(p, x);
    extents.push_back(x.dims()[*axis]);
    steps.push_back(strides[*axis]);
  }
  const size_t last = perm.size() - 1, outer = last - rows;
  const int64_t group = rows == 2 ? extents[last - 1] : 1, step = rows == 2 ? steps[outer] : 0;
  const int64_t depth = extents[outer] * group, columns = extents[last];
  const TileWeights w{static_cast<const float*>(x.data()), steps[last - 1], steps[last],
                      rows == 2 ? group : depth, step};
  int64_t matrices = 1;
  for (size_t i = 0; i < outer; ++i) matrices *= extents[i];
  const int64_t panel = packed_tile_elements(depth, kTileColumns, static_cast<int>(terms));
  auto* to = static_cast<uint16_t*>(out.mutable_data());
  const int64_t panels = (columns + kTileColumns - 1) / kTileColumns;
  parallel_for(panels * matrices, std::max<int64_t>(1, kHostGrain / std::max<int64_t>(1, panel)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   TileWeights part = w;
                   int64_t matrix = i % matrices;
                   for (size_t d = outer; d-- > 0; matrix /= extents[d])
                     part.data += matrix % extents[d] * steps[d];
                   const int64_t first = i / matrices * kTileColumns;
                   part.data += first * part.column;
                   pack_tile_panel(
                       part, depth,
                       static_cast<int>(std::min<int64_t>(columns - first, kTileColumns)),
                       static_cast<int>(terms), to + i * panel);
                 }
               });
  return {};
}

/// See the record of the op: transpose by perm, then panels of the last axis outermost.
Status pack(const HostCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& out = call.outputs[0];
  const std::vector<int64_t> perm = call.attributes.integers("perm");
  const int64_t block = call.attributes.integer("block", 0);
  if (perm.size() != x.dims().size() || perm.empty())
    return wrong_length("perm", perm.size(), x.dims().size());
  if (const int64_t terms = call.attributes.integer("terms", 0); terms > 0)
    return pack_terms(call, perm, terms);
  if (block < 1 || out.rank() != x.rank() + 1 || out.dims().back() != block)
    return invalid_argument("panels of " + std::to_string(block) + " do not fit " +
                            out.type_string());
  // Result axes: panel, permuted axes but the last, column within the panel.
  const std::vector<int64_t> strides = dense_strides(x.dims());
  const std::vector<int64_t> to = dense_strides(out.dims());
  std::vector<int64_t> from = {0}, extents = out.dims();
  for (int64_t p : perm) {
    const auto axis = find_axis(p, x.rank());
    if (!axis) return axis_out_of_range(p, x);
    from.push_back(strides[*axis]);
  }
  from[0] = from.back() * block;
  const size_t element = size_of(x.dtype());
  const int64_t columns = x.dims()[static_cast<size_t>(perm.back())], full = columns / block;
  const auto* source = static_cast<const std::byte*>(x.data());
  auto* target = static_cast<std::byte*>(out.mutable_data());
  const auto bytes = [&](int64_t elements) { return elements * static_cast<int64_t>(element); };
  extents[0] = full;
  strided_copy(extents, target, to, source, from, element);
  if (const int64_t rest = columns % block; rest != 0) {
    extents[0] = 1;
    extents.back() = rest;
    std::byte* panel = target + bytes(full * to[0]);
    strided_copy(extents, panel, to, source + bytes(full * from[0]), from, element);
    extents.back() = block - rest;
    const uint64_t zero = 0;
    strided_fill(extents, panel + bytes(rest), to, &zero, element);
  }
  return {};
}

constexpr HostOp kOps[] = {
    {"pack", pack},
};

}  // namespace

Tensor unpacked_terms(const Tensor& w, int64_t terms, int64_t depth, int64_t columns) {
  const std::vector<int64_t>& d = w.dims();
  const int64_t panels = d[0], rows = d[d.size() - 2];
  std::vector<int64_t> dims(d.begin() + 1, d.end() - 2);
  int64_t matrices = 1;
  for (const int64_t extent : dims) matrices *= extent;
  dims.insert(dims.end(), {depth, columns});
  Tensor plain = Tensor::empty(DType::f32, dims);
  const auto* from = static_cast<const uint16_t*>(w.data());
  auto* to = static_cast<float*>(plain.mutable_data());
  std::fill_n(to, plain.size(), 0.0f);
  constexpr int64_t kTile = 16 * kTileDepth;
  for (int64_t i = 0; i < panels * matrices; ++i, from += rows * terms * kTileColumns)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t c = 0; c < kTileColumns && i / matrices * kTileColumns + c < columns; ++c)
        for (int64_t t = 0; t < terms; ++t) {
          const int64_t step = (k / kTileDepth * terms + t) * 2 * kTile, pair = k % kTileDepth / 2;
          const uint32_t bits =
              uint32_t{from[step + c / 16 * kTile + pair * 32 + c % 16 * 2 + k % 2]} << 16;
          float term;
          std::memcpy(&term, &bits, sizeof term);
          to[(i % matrices * depth + k) * columns + i / matrices * kTileColumns + c] += term;
        }
  return plain;
}

std::span<const HostOp> weight_host_ops() { return kOps; }

}  // namespace tintype
