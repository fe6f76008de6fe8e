// Well-known networks, built with the graph API and seeded weights.
#pragma once

#include "frontend/graph/graph_builder.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace tintype {

struct ZooOptions {
  uint64_t seed = 1;
  /// Extents of one example, such as {3, 32, 32}; empty: as published. Error when a layer does not
  /// fit.
  std::vector<int64_t> input = {};
  int64_t classes = 0;     ///< 0: as published (10 for LeNet-5, 1000 for the others)
  bool auxiliary = false;  ///< the training heads of GoogLeNet and Inception v3, as further outputs
  bool shapes_only = false;  ///< no weights: for the layer table
};

struct ZooEntry {
  std::string_view name;
  std::string_view summary;
  std::string_view source;  ///< the paper
  int64_t classes;          ///< 0: it has none
  void (*build)(GraphBuilder&, const ZooOptions&);
};

/// All networks, by year.
std::span<const ZooEntry> zoo();
/// A network by name; Error with the nearest name when there is none. Batch is the symbol N.
std::unique_ptr<GraphBuilder> build_zoo_network(std::string_view name,
                                                const ZooOptions& options = {});

namespace zoo_networks {
/// f32[N,C,H,W], or what the options ask for.
TensorType image_type(const ZooOptions& o, int64_t channels, int64_t height, int64_t width);
void mlp(GraphBuilder& g, const ZooOptions& o);
void lenet5(GraphBuilder& g, const ZooOptions& o);
void autoencoder(GraphBuilder& g, const ZooOptions& o);
void alexnet(GraphBuilder& g, const ZooOptions& o);
void alexnet_one_tower(GraphBuilder& g, const ZooOptions& o);
void vgg16(GraphBuilder& g, const ZooOptions& o);
void vgg19(GraphBuilder& g, const ZooOptions& o);
void googlenet(GraphBuilder& g, const ZooOptions& o);
void inception_v2(GraphBuilder& g, const ZooOptions& o);
void inception_v3(GraphBuilder& g, const ZooOptions& o);
/// depth 18, 34, 50, 101 or 152; pre_activation selects v2.
void resnet(GraphBuilder& g, const ZooOptions& o, int depth, bool pre_activation);
enum class RowReader : uint8_t { rnn, gru, lstm };
/// 128 units that read a picture as a sequence of rows; the last output is classified.
void rows(GraphBuilder& g, const ZooOptions& o, RowReader reader);
/// BatchNorm whose running statistics vary, yet keep the scale of activations; `scale` multiplies.
BatchNorm seeded_norm(const std::string& name, double scale = 1, double epsilon = 1e-5);
}  // namespace zoo_networks

}  // namespace tintype
