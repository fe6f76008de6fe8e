// Recurrent networks that read a picture row by row.
#include "frontend/graph/recurrent.h"
#include "frontend/zoo/zoo.h"
#include "ir/diagnostic.h"

namespace tintype::zoo_networks {

void rows(GraphBuilder& g, const ZooOptions& o, RowReader reader) {
  auto x = g.input("image", image_type(o, 1, 28, 28));
  const Shape& shape = x.shape();
  const auto rank = static_cast<size_t>(x.value()->rank());
  if (rank < 3 || !shape[rank - 1].is_static() || !shape[rank - 2].is_static())
    throw Error("a row reader needs pictures of a known height and width, got " +
                x.value()->type().text());
  x = x.reshape({0, shape[rank - 2].value(), shape[rank - 1].value()}, "rows");
  const Recurrent options = {.name = "recurrent", .units = 128, .forget_bias = 1};
  const RecurrentResult r = reader == RowReader::rnn   ? x.rnn(options)
                            : reader == RowReader::gru ? x.gru(options)
                                                       : x.lstm(options);
  g.output("scores", last_step(r.y).linear({.name = "output", .units = o.classes}));
}

}  // namespace tintype::zoo_networks
