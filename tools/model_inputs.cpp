// Extents that a model fixes decide what is left open: the crop, and grey or coloured.
#include "tools/model_inputs.h"

#include "frontend/data/augmentation.h"
#include "frontend/data/normalization.h"
#include "frontend/data/npy.h"
#include "ir/diagnostic.h"
#include "tools/command.h"
#include "tools/trained_model.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace tintype::cli {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_of(const Model& model) {
  std::vector<std::string> names;
  for (const Port& port : model.program().inputs) names.push_back(port.name);
  return names;
}

size_t number_of(const std::vector<std::string>& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw Error("--input: the model has no input '" + name + "'" + did_you_mean(name, names));
  return static_cast<size_t>(found - names.begin());
}

/// The extent of an axis where the model fixes it, else 0.
int64_t fixed_extent(const Model& model, size_t input, size_t axis) {
  const Program& p = model.program();
  const ExtentExpr& e = p.expressions[static_cast<size_t>(p.inputs[input].dims.at(axis))];
  return e.kind == ExtentExpr::Kind::constant ? e.value : 0;
}

bool takes_images(const Model& model, size_t input) {
  return model.program().inputs[input].dims.size() == 4;
}

template <typename T>
T checked(Result<T> result, const std::string& where) {
  if (!result.ok()) throw Error(where + ": " + result.status().message());
  return std::move(result).value();
}

/// 1 or 3 where the model fixes that, else what the file has.
int channels_of(const Model& model, size_t input) {
  const int64_t c = takes_images(model, input) ? fixed_extent(model, input, 1) : 0;
  return c == 1 || c == 3 ? static_cast<int>(c) : 0;
}

Preprocess::Extents side_or_extents(const std::string& text, const std::string& option) {
  const std::vector<int64_t> e = parse_extents(text, option);
  if (e.size() > 2) throw UsageError(option + " expects SIDE or HEIGHTxWIDTH, got '" + text + "'");
  return {static_cast<int>(e.front()), static_cast<int>(e.back())};
}

Preprocess imagenet(const Model& model, size_t input) {
  const int64_t side = takes_images(model, input) ? fixed_extent(model, input, 2) : 0;
  return Preprocess::imagenet(side > 0 && side < 1 << 16 ? static_cast<int>(side) : 224);
}

/// What training did to the images, number for number.
Preprocess as_trained(const InputSpec& spec, const std::string& path) {
  Preprocess p;
  if (!spec.resize.empty()) p.resize = side_or_extents(spec.resize, path + ": resize");
  if (!spec.augment.empty()) {
    const Augmentation a = checked(Augmentation::parse(spec.augment), path);
    const auto crop = static_cast<int>(a.crop);
    p.pad = static_cast<int>(a.pad);
    p.crop = {crop, crop};
  }
  const Normalization n = checked(Normalization::parse(spec.normalize), path);
  p.unit = 1;
  p.mean = n.mean;
  p.deviation = n.deviation;
  return p;
}

/// Numbers separated by ',' or ':'.
std::vector<float> numbers(const std::string& text, const std::string& option, bool positive) {
  std::string list = "mean=" + text;
  std::replace(list.begin() + 5, list.end(), ',', ':');
  const Result<Normalization> n = Normalization::parse(list);
  if (!n.ok()) throw UsageError(option + " expects numbers separated by ',', got '" + text + "'");
  const std::vector<float>& values = n.value().mean;
  if (positive && std::any_of(values.begin(), values.end(), [](float v) { return !(v > 0); }))
    throw UsageError(option + " expects positive numbers, got '" + text + "'");
  return values;
}

std::string inputs_of_run(const std::string& model_path) {
  const fs::path file = fs::path(model_path).parent_path() / "inputs.json";
  return fs::exists(file) ? file.string() : "";
}

}  // namespace

void read_inputs(const Model& model, const std::vector<std::string>& files,
                 const PreprocessOf& preprocess, std::vector<Tensor>& inputs) {
  const std::vector<std::string> names = names_of(model);
  size_t next = 0;
  while (next < inputs.size() && inputs[next].defined()) ++next;
  for (const std::string& f : files) {
    const size_t eq = f.find('=');
    const std::string path = eq == std::string::npos ? f : f.substr(eq + 1);
    if (eq == std::string::npos && fs::path(path).extension() == ".npz") {
      for (auto& [name, array] : checked(load_npz(path), "--input"))
        inputs[number_of(names, name)] = std::move(array);
      continue;
    }
    const size_t at = eq == std::string::npos
                          ? next
                          : from_option([&] { return number_of(names, f.substr(0, eq)); });
    if (at >= names.size())
      throw Error(fmt::format("the model has {} input{}, but more files are given", names.size(),
                              names.size() == 1 ? "" : "s"));
    inputs[at] = load_tensor(path, is_image_name(path) ? preprocess(at) : Preprocess{});
    if (is_image_name(path)) check_image(model, at, inputs[at], path);
    next = at + 1;
  }
}

void note_unprepared(const std::string& model_path, const std::vector<std::string>& files) {
  const std::string spec = inputs_of_run(model_path);
  const auto raw = std::find_if(files.begin(), files.end(), [](const std::string& f) {
    return !is_image_name(f.substr(f.find('=') + 1));
  });
  if (spec.empty() || raw == files.end()) return;
  if (const std::string how = load_input_spec(spec).normalize; !how.empty() && how != "none")
    fmt::print(stderr, "note: {} is taken as it is; in training, inputs were normalised: {} ({})\n",
               *raw, how, spec);
}

void fill_inputs(const Model& model, const std::map<std::string, int64_t>& dims, uint64_t seed,
                 std::vector<Tensor>& inputs) {
  const Program& p = model.program();
  std::vector<std::string> symbols;
  for (const Symbol& s : p.symbols) symbols.push_back(s.name);
  require_symbols(dims, symbols);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) continue;
    std::vector<int64_t> extents;
    for (ExprId id : p.inputs[i].dims) {
      const ExtentExpr& e = p.expressions[static_cast<size_t>(id)];
      if (e.kind == ExtentExpr::Kind::constant) {
        extents.push_back(e.value);
      } else if (e.kind == ExtentExpr::Kind::symbol) {
        const auto it = dims.find(p.symbols[static_cast<size_t>(e.value)].name);
        extents.push_back(it == dims.end() ? 1 : it->second);
      } else {
        throw Error("input '" + p.inputs[i].name + "' has a computed extent; give a file for it");
      }
    }
    inputs[i] = random_tensor(p.inputs[i].dtype, extents, seed + i);
  }
}

std::vector<Tensor> make_inputs(const Model& model, const std::vector<std::string>& files,
                                const std::map<std::string, int64_t>& dims, uint64_t seed) {
  std::vector<Tensor> inputs(model.program().inputs.size());
  const auto as_it_is = [&](size_t input) {
    return Preprocess{.channels = channels_of(model, input)};
  };
  read_inputs(model, files, as_it_is, inputs);
  fill_inputs(model, dims, seed, inputs);
  return inputs;
}

void ImageArguments::add_to(CLI::App& app) {
  app.add_option("--image", images, "an image for the first input, or several as one batch")
      ->type_name("FILE");
  app.add_option("--preprocess", preprocess,
                 "imagenet: resize, crop, scale and normalise as torchvision's models expect; or "
                 "the inputs.json of a training run (that beside the model is found by itself)");
  app.add_option("--resize", resize, "scale images: the shorter side to SIDE, or HEIGHTxWIDTH");
  app.add_option("--crop", crop, "cut the middle out of images: SIDE or HEIGHTxWIDTH");
  app.add_option("--mean", mean, "M,M,M: taken from pixels in [0, 1]; one number or one a channel");
  app.add_option("--std", deviation, "D,D,D: pixels are then divided by these");
}

bool ImageArguments::any_setting() const {
  return !(preprocess.empty() && resize.empty() && crop.empty() && mean.empty() &&
           deviation.empty());
}

ImageSettings image_settings(const ImageArguments& a, const std::string& model_path,
                             const Model& model, size_t input) {
  ImageSettings s;
  if (!a.any_setting()) s.source = inputs_of_run(model_path);
  else if (a.preprocess.ends_with(".json")) s.source = a.preprocess;
  else if (a.preprocess == "imagenet") s.preprocess = imagenet(model, input);
  else if (!a.preprocess.empty())
    throw UsageError("--preprocess expects 'imagenet' or the inputs.json of a training run, got '" +
                     a.preprocess + "'");
  if (!s.source.empty()) {
    const InputSpec spec = load_input_spec(s.source);
    s.preprocess = as_trained(spec, s.source);
    s.classes = spec.classes;
  }
  Preprocess& p = s.preprocess;
  p.channels = channels_of(model, input);
  if (!a.resize.empty()) {
    const bool one = a.resize.find('x') == std::string::npos;
    const Preprocess::Extents e = side_or_extents(a.resize, "--resize");
    p.shorter = one ? e[0] : 0;
    p.resize = one ? Preprocess::Extents{} : e;
  }
  if (!a.crop.empty()) p.crop = side_or_extents(a.crop, "--crop");
  if (!a.mean.empty() || !a.deviation.empty()) p.unit = 255;
  if (!a.mean.empty()) p.mean = numbers(a.mean, "--mean", false);
  if (!a.deviation.empty()) p.deviation = numbers(a.deviation, "--std", true);
  return s;
}

void check_image(const Model& model, size_t input, const Tensor& image, const std::string& path) {
  const Port& port = model.program().inputs[input];
  const auto refuse = [&](const std::string& why) {
    throw Error(fmt::format("{}: {}; the image is {}", path, why, image.type_string()));
  };
  if (port.dtype != DType::f32 || !takes_images(model, input))
    refuse(fmt::format("input '{}' takes no images, which are f32[N,channels,height,width]",
                       port.name));
  const int64_t channels = fixed_extent(model, input, 1);
  if (channels > 0 && channels != image.dims()[1])
    refuse(fmt::format("input '{}' expects {} channels on axis 1", port.name, channels));
  const int64_t height = fixed_extent(model, input, 2), width = fixed_extent(model, input, 3);
  if ((height > 0 && height != image.dims()[2]) || (width > 0 && width != image.dims()[3]))
    refuse(fmt::format("input '{0}' expects {1}x{2} pixels: give --resize {1}x{2}, --crop, or "
                       "--preprocess imagenet",
                       port.name, height > 0 ? height : image.dims()[2],
                       width > 0 ? width : image.dims()[3]));
}

}  // namespace tintype::cli
