// What a product costs on AMX, and how it is divided into tasks.
#pragma once

#include "codegen/machine.h"
#include "ir/graph.h"
#include "runtime/tile_product.h"

#include <cstdint>
#include <functional>

namespace tintype {

/// The window of a convolution on AMX, as runtime/tile_product.h takes it.
struct TileWindow {
  explicit TileWindow(const Node& conv);
  int64_t width, height, stride_x, stride_y, dilation_x, dilation_y;
  bool in_place;  ///< rows may be places of the image: see TileRows
};

/// A dot with one matrix on the right, or a conv, as tiles see it.
struct TileProblem {
  double rows = 0;     ///< of the sums, those that are no results included
  double results = 0;  ///< of the sums, results alone
  double depth = 0;    ///< multiply-adds per result
  double steps = 0;    ///< of kTileDepth
  double columns = 0;
  double left = 0;        ///< elements of the left side to take apart, copies included
  bool winograd = false;  ///< vectors of f32 could take Winograd's form
  // Of an image, what blocks of lines have in common; of a product, lines of one position.
  double lines = 0, line = 1;  ///< lines in all of one image, positions of a line
  double images = 1;
  double halo = 0;  ///< lines that a block needs beside its own
};

/// How rows of a convolution's left side are made. Images of few results share tiles.
TileRows tile_rows(const Node& conv, const std::function<int64_t(const Dim&)>& hint);

/// `hint` tells the likely value of an extent.
TileProblem tile_problem(const Node& n, const std::function<int64_t(const Dim&)>& hint);

/// Reckoned cycles, of all cores together. `packed`: weights are packed beforehand.
double amx_cycles(const TileProblem& p, bool packed, int64_t terms);
double vector_cycles(const TileProblem& p, bool packed, const Machine& machine);

struct AmxTasks {
  int rows = 1;    ///< positions of a product, or lines of an image
  int panels = 0;  ///< of all columns, 0: all
};

/// The division into blocks of positions and parts of the columns that costs least: every block
/// reads the weights, every part takes the left side apart. `whole_panels` is the number of panels
/// where columns fill them, else 0.
AmxTasks pick_amx_tasks(const TileProblem& p, int64_t whole_panels, bool packed, int64_t terms,
                        const Machine& machine);

}  // namespace tintype
