// Inputs of a compiled model: from files, from images prepared as the model expects, or random.
#pragma once

#include "runtime/model.h"
#include "tools/driver/data_files.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tintype::cli {

/// How an image becomes the input of this number.
using PreprocessOf = std::function<Preprocess(size_t input)>;

/// Reads files given as NAME=FILE or FILE into `inputs`, which are in port order; a file without a
/// name is that of the input behind the last one, or of the first without a tensor. The arrays of
/// an .npz without a name go to the inputs of their names. Throws Error.
void read_inputs(const Model& model, const std::vector<std::string>& files,
                 const PreprocessOf& preprocess, std::vector<Tensor>& inputs);
/// Says on standard error that files of numbers are not prepared as the run did in whose folder the
/// model lies.
void note_unprepared(const std::string& model_path, const std::vector<std::string>& files);
/// Random tensors for what is undefined; `dims` has values of symbols, which are 1 otherwise.
void fill_inputs(const Model& model, const std::map<std::string, int64_t>& dims, uint64_t seed,
                 std::vector<Tensor>& inputs);
/// Both, with images as they are.
std::vector<Tensor> make_inputs(const Model& model, const std::vector<std::string>& files,
                                const std::map<std::string, int64_t>& dims, uint64_t seed);

/// Images on the command line, and what is done to them.
struct ImageArguments {
  std::vector<std::string> images;
  std::string preprocess, resize, crop, mean, deviation;

  void add_to(CLI::App& app);
  bool any_setting() const;
};

/// What is done to the images of a model's input, and the names of its classes where the folder of
/// a training run says them.
struct ImageSettings {
  Preprocess preprocess;
  std::vector<std::string> classes;
  std::string source;  ///< the file that said so, or empty
};

/// Settings of the command line; without any, those of the run in whose folder the model lies.
/// Throws Error.
ImageSettings image_settings(const ImageArguments& arguments, const std::string& model_path,
                             const Model& model, size_t input);
/// Throws Error, with what might help, when an image does not fit the extents that the model fixes.
void check_image(const Model& model, size_t input, const Tensor& image, const std::string& path);

}  // namespace tintype::cli
