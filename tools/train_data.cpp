// Files and folders to datasets, and datasets to batches.
#include "tools/train_data.h"

#include "frontend/data/elements.h"
#include "frontend/train/spec.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/command.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <fmt/format.h>

namespace tintype::cli {

namespace {

/// Threads that prepare batches while steps run. Results do not depend on it.
constexpr int kWorkers = 1;

template <typename T>
T checked(Result<T> result, const std::string& where) {
  if (!result.ok()) throw Error(where + ": " + result.status().message());
  return std::move(result).value();
}

bool is_named(const std::vector<std::string>& files) {
  return !files.empty() && files[0].find('=') != std::string::npos;
}

/// A target of one integer per sample is a class, whatever its width.
Column column_of(const std::string& name, Tensor values) {
  const bool classes = name == "target" && is_int(values.dtype()) && values.rank() == 1;
  if (!classes) return {name, std::move(values), false};
  Tensor labels = Tensor::empty(DType::i64, values.dims());
  bool positive = true;
  for (int64_t i = 0; i < labels.size(); ++i) {
    const auto label = static_cast<int64_t>(element_as_double(values, i));
    labels.mutable_values<int64_t>()[static_cast<size_t>(i)] = label;
    positive = positive && label >= 0;
  }
  return {name, std::move(labels), positive};
}

/// NAME=FILE for every name.
DataSource open_named(const std::vector<std::string>& files, const std::vector<std::string>& names,
                      const std::string& option) {
  std::vector<std::string> paths(names.size());
  for (const std::string& text : files) {
    const auto [name, path] = split_assignment(text, option);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw UsageError(option + ": there is no input '" + name + "'" + did_you_mean(name, names));
    std::string& slot = paths[static_cast<size_t>(found - names.begin())];
    if (!slot.empty()) throw UsageError(option + ": '" + name + "' is given twice");
    slot = path;
  }
  std::vector<Column> columns;
  for (size_t i = 0; i < names.size(); ++i) {
    if (paths[i].empty() && names[i] == "target") continue;  // an input may be the target
    if (paths[i].empty())
      throw UsageError(option + ": no file for '" + names[i] + "'; give " + names[i] + "=FILE");
    columns.push_back(column_of(names[i], load_tensor(paths[i])));
  }
  return {checked(tensor_dataset(std::move(columns)), option), nullptr, "files"};
}

DataSource open_source(const std::vector<std::string>& files, const std::vector<std::string>& names,
                       const OpenOptions& options, const std::string& option) {
  if (is_named(files)) return open_named(files, names, option);
  if (names.size() > 2)
    throw Error(option + ": the model has several inputs; give " + names[0] + "=FILE and so on");
  if (files.size() > 2)
    throw Error(option + ": expected a file or folder and perhaps a file of targets; '" + files[2] +
                "' is left over");
  OpenOptions o = options;
  if (files.size() == 2) o.targets = files[1];
  return checked(open_dataset(files[0], o), option);
}

OpenOptions open_options(const DataArguments& a) {
  OpenOptions o;
  o.class_names = a.class_names;
  o.input_names = a.input_names;
  o.target_name = a.target_name;
  if (!a.table.empty()) {
    SpecReader reader = SpecReader::without_name(a.table, "--table");
    std::string shape;
    reader("label", o.label);
    reader("task", o.task);
    reader("shape", shape);
    reader.finish();
    o.shape = parse_extents(shape, "--table shape");
  }
  const std::vector<int64_t> size = parse_extents(a.resize, "--resize");
  if (size.size() > 2)
    throw UsageError("--resize expects SIDE or HEIGHTxWIDTH, got '" + a.resize + "'");
  if (!size.empty()) o.resize = {static_cast<int>(size.front()), static_cast<int>(size.back())};
  return o;
}

DatasetPtr resized(DatasetPtr dataset, const OpenOptions& options) {
  if (dataset == nullptr || options.resize[0] == 0) return dataset;
  return checked(resized_images(dataset, options.resize[0], options.resize[1]), "--resize");
}

BatchTypes types_of(const Trainer& trainer) {
  BatchTypes types;
  for (const auto& v : trainer.model().inputs()) types.emplace_back(v->name(), v->type());
  for (const TargetInput& t : trainer.program().targets) types.emplace_back(t.name, t.type);
  return types;
}

std::unique_ptr<BatchSource> load_batches(const DatasetPtr& dataset, LoaderOptions options,
                                          const BatchTypes& types, bool reconstruct,
                                          const std::string& option) {
  options.workers = kWorkers;
  for (const auto& [name, type] : types) options.names.push_back(name);
  if (reconstruct) {
    // What the data has for targets, if anything, is not asked for.
    options.reconstruction = options.names.back();
    options.names.back() = options.reconstruction + " of the data";
    options.names.resize(dataset->fields().size());
  }
  return batches_of(checked(Loader::create(dataset, std::move(options)), option),
                    {types.begin(), types.end()});
}

/// Names of the data: the inputs of the model, then the target.
std::vector<std::string> data_names(const Graph& model) {
  std::vector<std::string> names;
  for (const auto& v : model.inputs()) names.push_back(v->name());
  names.emplace_back("target");
  return names;
}

/// Numbers of tokens and the like, whatever type they have in the data: nothing scales or blurs
/// them. Only the first input would be.
bool takes_integers(const Graph& model) {
  return !model.inputs().empty() && !is_float(model.inputs()[0]->dtype());
}

void require_unchanged(const DataArguments& a, const Graph& model) {
  const auto refuse = [&](const std::string& option) {
    throw Error(
        fmt::format("{}: input '{}' of the model takes integers, {}, which stay as they are",
                    option, model.inputs()[0]->name(), model.inputs()[0]->type().text()));
  };
  if (a.normalize != "unit" && a.normalize != "none") refuse("--normalize " + a.normalize);
  if (!a.augment.empty()) refuse("--augment " + a.augment);
}

/// Numbers of classes count names in an order that only one side knows. `names` are those of the
/// other side, which has numbers where there are none.
void warn_of_classes(const DataSource& source, const std::vector<std::string>& names,
                     const std::string& option) {
  if (source.training->labels().empty() || source.named_classes == !names.empty()) return;
  const std::vector<std::string>& known = names.empty() ? source.training->class_names() : names;
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(known.size(), 3); ++i)
    list += fmt::format("{}{} = '{}'", i == 0 ? "" : ", ", i, known[i]);
  fmt::print(stderr,
             "warning: {}: the classes are {} here and {} in what it goes with, taken as {}{}\n",
             option, names.empty() ? "names" : "numbers", names.empty() ? "numbers" : "names", list,
             known.size() > 3 ? " ..." : "");
}

}  // namespace

void DataArguments::add_to(CLI::App& app) {
  add_evaluation_to(app);
  app.add_option("--augment", augment,
                 "shift=1,rotate=10,scale=0.1,flip,pad=4,crop=32,noise=0.1,cutout=8");
}

void DataArguments::add_evaluation_to(CLI::App& app) {
  app.add_option("--data", data,
                 "folder or file with inputs and targets, INPUT TARGET, or NAME=FILE ...");
  app.add_option("--validation", validation, "the same for validation");
  app.add_option("--validation-split", validation_split, "share of --data kept for validation")
      ->check(share());
  app.add_option("--table", table,
                 "CSV: label=COLUMN,task=classes or values; flat rows: shape=1x28x28");
  app.add_option("--resize", resize, "scale images to SIDE or HEIGHTxWIDTH");
  app.add_option("--normalize", normalize, "unit, standard, none, or mean=M:M:M,std=D:D:D");
  app.add_option("--batch", batch, "samples per step; 0: all")->check(not_negative());
}

TrainingData open_training_data(const DataArguments& a, const Graph& model, uint64_t seed) {
  const std::vector<std::string> names = data_names(model);
  if (!a.validation.empty() && a.validation_split != 0)
    throw UsageError("--validation and --validation-split exclude each other");
  OpenOptions options = from_option([&a] { return open_options(a); });
  DataSource source = open_source(a.data, names, options, "--data");
  if (!a.class_names.empty() || a.numbered_classes)
    warn_of_classes(source, a.class_names, "--data");
  TrainingData d = {source.training,    source.test,        {}, {}, false,
                    source.input_names, source.target_name, {}};
  if (!a.validation.empty()) {
    options.class_names = source.training->class_names();
    options.input_names = source.input_names;
    options.target_name = source.target_name;
    const DataSource validation = open_source(a.validation, names, options, "--validation");
    d.validation = validation.training;
    const bool named = source.named_classes || !a.class_names.empty();
    if (!source.training->labels().empty())
      warn_of_classes(validation, named ? options.class_names : std::vector<std::string>(),
                      "--validation");
  } else if (a.validation_split != 0) {
    const bool labelled = !source.training->labels().empty();
    const Split parts =
        checked(split(source.training, a.validation_split, seed, labelled), "--validation-split");
    d.training = parts.first;
    d.validation = parts.second;
  }
  d.training = resized(d.training, options);
  d.validation = resized(d.validation, options);
  if (!a.augment.empty())
    d.augmentation =
        from_option([&a] { return checked(Augmentation::parse(a.augment), "--augment"); });
  if (takes_integers(model)) require_unchanged(a, model);
  else if (becomes_float(d.training->fields()[0].dtype))
    d.normalization = checked(Normalization::parse(a.normalize, *d.training), "--normalize");
  const Field& f = d.training->fields()[0];
  d.description = fmt::format("{}: {} samples of {}", source.kind, grouped(d.training->size()),
                              type_string(f.dtype, f.dims));
  if (d.validation)
    d.description += fmt::format(", {} for validation", grouped(d.validation->size()));
  return d;
}

void settle_targets(TrainingData& data, const Graph& model, const std::optional<Loss>& loss,
                    const DataArguments& a) {
  const std::vector<Field>& fields = data.training->fields();
  const size_t inputs = model.inputs().size();
  const bool targets = fields.size() > inputs;
  const auto sample = [](const Value* v) {
    return Shape(v->shape().begin() + std::min(1, v->rank()), v->shape().end());
  };
  const Shape output = model.output_count() > 0 ? sample(model.output(0)) : Shape();
  const bool same_shape = inputs == 1 && output == sample(model.inputs()[0].get());
  const bool classes = targets && fields.back().label;
  const bool scores =
      loss ? takes_labels(*loss) : output.size() == 1 && output[0].is(data.training->classes());
  data.reconstruct = same_shape && (!targets || (classes && !scores));
  if (targets || data.reconstruct) return;
  if (is_named(a.data)) throw UsageError("--data: no file for 'target'; give target=FILE");
  throw Error("--data: " + a.data[0] + " has no targets; give a second file for 'target'");
}

void check_targets(const TrainingData& data, const Loss& loss) {
  if (data.reconstruct) return;
  const Field& target = data.training->fields().back();
  const std::string given = "--loss " + text_of(loss);
  if (target.label && !takes_labels(loss))
    throw Error(given + " takes numbers as targets, but those of the data are classes; "
                        "cross_entropy, multi_margin and nll take classes");
  if (is_float(target.dtype) && takes_labels(loss))
    throw Error(given + " takes classes as targets, but those of the data are numbers, " +
                type_string(target.dtype, target.dims) +
                (target.dims.empty() ? "; classes are integers, save them as int64" : "") +
                "; mse, l1 and huber take numbers, cross_entropy,probabilities=1 distributions");
}

bool TrainingData::numbers() const {
  const std::vector<Field>& fields = training->fields();
  return reconstruct || (fields.size() > 1 && is_float(fields.back().dtype));
}

int64_t TrainingData::outputs() const {
  const Field& target = training->fields().back();
  if (training->fields().size() < 2 || !is_float(target.dtype))
    return std::max(training->classes(), validation ? validation->classes() : 0);
  if (target.dims.size() > 1) return 0;
  return target.dims.empty() ? 1 : target.dims[0];
}

std::vector<int64_t> TrainingData::input_dims() const {
  return checked(augmentation.output_dims(training->fields()[0].dims), "--augment");
}

std::unique_ptr<BatchSource> TrainingData::batches(const Trainer& trainer, const DataArguments& a,
                                                   uint64_t seed) const {
  return load_batches(training,
                      {.batch = a.batch,
                       .shuffle = true,
                       .seed = seed,
                       .augmentation = augmentation,
                       .normalization = normalization},
                      types_of(trainer), reconstruct, "--data");
}

std::unique_ptr<BatchSource> TrainingData::validation_batches(const Trainer& trainer,
                                                              const DataArguments& a) const {
  if (validation == nullptr) return nullptr;
  return batches_in_order(validation, types_of(trainer), a.batch);
}

std::unique_ptr<BatchSource> TrainingData::batches_in_order(const DatasetPtr& samples,
                                                            const BatchTypes& types,
                                                            int64_t batch) const {
  return load_batches(samples,
                      {.batch = batch,
                       .augmentation = augmentation,
                       .evaluation = true,
                       .normalization = normalization},
                      types, reconstruct, samples == training ? "--data" : "--validation");
}

}  // namespace tintype::cli
