// Register tiles of contractions: how many output positions a tile takes, and what it costs.
#pragma once

#include "codegen/machine.h"
#include "ir/graph.h"

#include <cstdint>

namespace tintype {

/// Steps of the reduction that a tile's loop takes at once.
inline constexpr int kDepthUnroll = 4;
/// Tiles of a matrix product (about), or rows of a convolution's image, that a task runs one panel
/// over: the panel stays in cache. Strided windows spread over more of the image, so they take
/// fewer.
inline constexpr int kTaskTiles = 8;
int image_rows_per_task(const Node& conv);

/// Vectors of the widest panel of weights whose tile takes about as many positions.
inline int widest_panel(const Machine& machine) { return machine.lanes == 16 ? 4 : 2; }
/// Of the widest panel that is worth a try where the cost decides.
inline constexpr int kMostPanelVectors = 4;

struct TileChoice {
  int rows = 1;     ///< output positions per tile
  double cost = 0;  ///< cycles per position and vector of channels, up to a common factor
};

/// Registers a tile must leave free. In a product of plain matrices the compiler keeps addresses of
/// all rows live, and a tile of 7 x 4 vectors spills (half the speed); along an image row they are
/// multiples of one stride, and the same tile does not.
inline constexpr int kMatrixSpare = 2;
inline constexpr int kImageSpare = 0;

/// The best number of rows for `extent` positions and panels of `vectors` vectors by `depth` steps:
/// it fills the registers, keeps the multiply-add pipeline busy, wastes little on the last tile,
/// and reads the panel seldom where it lies in the second-level cache.
TileChoice pick_tile(int64_t extent, int vectors, int64_t depth, int spare, const Machine& machine);

/// Steps of a product's sum that all tiles of a task take before any takes more, so that as many
/// rows of a panel of `vectors` stay in the first-level cache; 0 where the tiles take all `depth`
/// steps at once. With vectors of 16, a step's multiply-adds take long enough to bring the next
/// rows. For weights of a run: those that stay the same are fetched ahead instead (see
/// schedule/prefetch.h), which is 5 to 10 % faster on a Zen 3.
int depth_block(int vectors, int64_t depth, const Machine& machine);

struct WinogradRun {
  int rows = 1;     ///< tiles of the image in a register tile
  int tiles = 0;    ///< of a task, a multiple of rows; 0: they do not fit the cache
  double cost = 0;  ///< as of a TileChoice, per tile of the image
};

/// How a Winograd convolution goes along a line of `columns` tiles: what all points of a run take,
/// before and after the products, fits half of the second-level cache, and little is computed twice
/// at the end of the line.
WinogradRun pick_winograd_run(int64_t columns, int64_t points, int64_t channels, int64_t filters,
                              int vectors, const Machine& machine);

struct CellTile {
  int vectors = 1;     ///< of hidden units
  int rows = 1;        ///< sequences
  bool apart = false;  ///< gate after gate, whose sums wait in memory for the others
};

/// True where the sequences of a recurrent cell are divided among the cores, false where its hidden
/// units are. Sequences are independent, so cores exchange nothing between steps; but each reads
/// all weights, which takes enough sequences to hide.
bool splits_sequences(int64_t batch, const Machine& machine);

/// The tile of a recurrent cell: the sums of all gates of `vectors` vectors of hidden units for
/// `rows` sequences fit the registers, keep the multiply-add pipeline busy and waste little on the
/// last panel and the last sequences. Where few registers would leave room for few sequences, each
/// gate gets all of them in turn. `fixed_vectors` > 0 where the weights are packed already;
/// `may_be_apart` false where their panels have all gates of a step together.
CellTile pick_cell_tile(int64_t gates, const Dim& units, int64_t batch, int64_t lanes,
                        int fixed_vectors, bool may_be_apart, const Machine& machine);

}  // namespace tintype
