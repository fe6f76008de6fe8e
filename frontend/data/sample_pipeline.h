// What happens to one input between the dataset and the batch.
#pragma once

#include "frontend/data/augmentation.h"
#include "frontend/data/dataset.h"
#include "frontend/data/image_ops.h"
#include "frontend/data/normalization.h"
#include "frontend/data/random_draws.h"

#include <span>
#include <vector>

namespace tintype {

/// Conversion to f32, augmentation, normalisation. Immutable after construction: any number of
/// threads may use one, each with its own Scratch.
class SamplePipeline {
 public:
  struct Scratch {
    std::vector<float> first, second;
  };

  /// Throws DataError when the parts do not fit the field.
  SamplePipeline(const Field& input, const Augmentation& augmentation, bool evaluation,
                 const Normalization& normalization);

  const std::vector<int64_t>& output_dims() const { return output_dims_; }
  /// `raw` holds one sample as the dataset reads it; `to` has room for output_dims(), and so has
  /// `clean`, unless it is empty: it gets the sample before noise and cutout.
  void run(const std::byte* raw, RandomDraws draws, Scratch& scratch, std::span<float> to,
           std::span<float> clean) const;

 private:
  void move_pixels(RandomDraws& draws, Scratch& scratch, std::span<float> to) const;
  void normalize(std::span<float> values) const;
  void disturb(RandomDraws& draws, std::span<float> values) const;

  DType dtype_;
  size_t input_size_;
  Augmentation augmentation_;
  bool evaluation_, moves_;
  Normalization normalization_;
  std::vector<int64_t> output_dims_;
  ImageExtents extents_, window_;  ///< of images
};

}  // namespace tintype
