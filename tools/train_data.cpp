// Files to tensors, conversion and splitting.
#include "tools/train_data.h"

#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/command.h"
#include "tools/driver/batches.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>

namespace tintype::cli {

Examples load_examples(const std::vector<std::string>& files,
                       const std::vector<std::string>& names) {
  Examples examples;
  size_t next = 0;
  for (const std::string& text : files) {
    std::string name;
    std::string path = text;
    if (text.find('=') != std::string::npos) {
      std::tie(name, path) = split_assignment(text, "--data");
    } else {
      if (next == names.size())
        throw Error("--data: there are more files than inputs and targets (" +
                    std::to_string(names.size()) + "); '" + text + "' is left over");
      name = names[next++];
    }
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Error("--data: there is no input '" + name + "'" + did_you_mean(name, names));
    if (!examples.emplace(name, load_tensor(path)).second)
      throw Error("--data: '" + name + "' is given twice");
  }
  for (const std::string& name : names)
    if (examples.count(name) == 0)
      throw Error("--data: no file for '" + name + "'; give " + name + "=FILE");
  return examples;
}

Tensor converted(const Tensor& examples, const TensorType& type, const std::string& name) {
  bool fits = examples.rank() == type.rank();
  for (int i = 1; fits && i < type.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    fits = !type.shape[at].is_static() || type.shape[at].value() == examples.dims()[at];
  }
  if (!fits)
    throw Error("--data: '" + name + "' is " + examples.type_string() + ", the model takes " +
                type.text());
  if (examples.dtype() == type.dtype) return examples;
  const double scale = examples.dtype() == DType::u8 && is_float(type.dtype) ? 1.0 / 255 : 1.0;
  Tensor out = Tensor::empty(type.dtype, examples.dims());
  auto* to = static_cast<std::byte*>(out.mutable_data());
  for (int64_t i = 0; i < out.size(); ++i, to += size_of(type.dtype))
    store_scalar(type.dtype, scale * element_as_double(examples, i), to);
  return out;
}

Examples split_off(Examples& examples, double share, uint64_t seed) {
  if (!(share > 0 && share < 1))
    throw Error("--validation-split expects a number between 0 and 1, got " +
                std::to_string(share));
  const int64_t size = examples.begin()->second.dims()[0];
  const auto taken = static_cast<int64_t>(std::llround(share * static_cast<double>(size)));
  if (taken == 0 || taken == size)
    throw Error("--validation-split " + std::to_string(share) + " of " + std::to_string(size) +
                " examples leaves one side empty");
  // The first batch of a shuffled epoch is the part taken out, the second is what stays.
  const int64_t rest = size - taken;
  const auto source =
      batches_of(examples, {.batch = std::max(taken, rest), .shuffle = true, .seed = seed});
  Batch larger = *source->next();
  Batch smaller = *source->next();
  examples = taken > rest ? std::move(smaller) : std::move(larger);
  return taken > rest ? std::move(larger) : std::move(smaller);
}

int64_t class_count(const Tensor& labels) {
  if (!is_int(labels.dtype())) return 0;
  double largest = -1;
  for (int64_t i = 0; i < labels.size(); ++i)
    largest = std::max(largest, element_as_double(labels, i));
  return static_cast<int64_t>(largest) + 1;
}

}  // namespace tintype::cli
