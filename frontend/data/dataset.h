// Samples by number: what training data looks like to everything that uses it.
#pragma once

#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tintype {

/// One tensor of every sample.
struct Field {
  std::string name;
  DType dtype = DType::undefined;
  std::vector<int64_t> dims;  ///< of one sample; images are channels, height, width
  bool label = false;         ///< class numbers: never scaled, augmented or converted
};

/// Any number of samples with the same fields: first the input, then, if there is one, the target.
/// Reading from many threads at once is safe.
class Dataset {
 public:
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  virtual int64_t size() const = 0;
  const std::vector<Field>& fields() const { return fields_; }
  /// Names of the classes that labels count, or empty when they have none.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// Number of classes: of the names, else largest label + 1; 0 without a label field.
  int64_t classes() const;

  /// Copies one sample: field i to `to[i]`, which has room for it. `index` is below size(). Fails
  /// when a file that is read only now is damaged.
  virtual Status read(int64_t index, std::span<std::byte* const> to) const = 0;
  /// The class of every sample, without reading anything else; empty without a label field.
  virtual std::vector<int64_t> labels() const = 0;

 protected:
  Dataset(std::vector<Field> fields, std::vector<std::string> class_names)
      : fields_(std::move(fields)), class_names_(std::move(class_names)) {}

 private:
  std::vector<Field> fields_;
  std::vector<std::string> class_names_;
};

using DatasetPtr = std::shared_ptr<const Dataset>;

/// A field of all samples together: the first extent counts them.
struct Column {
  std::string name;
  Tensor values;
  bool label = false;  ///< i64, rank 1, none negative
};

/// Samples in memory, or mapped. Fails when the columns' first extents differ, or labels are not
/// class numbers below the number of names (if there are any).
Result<DatasetPtr> tensor_dataset(std::vector<Column> columns,
                                  std::vector<std::string> class_names = {});

/// The samples with these numbers, in this order; all are below `dataset->size()`.
DatasetPtr subset(DatasetPtr dataset, std::vector<int64_t> indices);

struct Split {
  DatasetPtr first, second;
};

/// Shares the samples out at random: the second part gets round(share * size) of them, and both
/// keep the order of the dataset. The same for the same seed on every machine. `stratified` shares
/// out each class by itself (to one sample), and needs labels. Fails when a part would be empty.
Result<Split> split(const DatasetPtr& dataset, double share, uint64_t seed,
                    bool stratified = false);

/// The same samples with images of other extents, in memory. Inputs have to be u8 images of one or
/// three channels. Where no byte of the dataset is above 127, bytes are stretched to 255 first, so
/// that interpolation does not round to few levels.
Result<DatasetPtr> resized_images(const DatasetPtr& dataset, int height, int width);

}  // namespace tintype
