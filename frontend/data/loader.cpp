// Batches are numbered through all epochs; workers make them in this order, each batch by itself.
#include "frontend/data/loader.h"

#include "frontend/data/data_error.h"
#include "frontend/data/elements.h"
#include "frontend/data/sample_pipeline.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

namespace tintype {

namespace {

constexpr int kMostWorkers = 256, kMostAhead = 4096;

using Order = std::shared_ptr<const std::vector<int64_t>>;

void check(const Dataset& dataset, const LoaderOptions& o) {
  const auto wrong = [](const std::string& message) { throw DataError(invalid_argument(message)); };
  if (o.batch < 0)
    wrong(fmt::format("expected a batch size from 1, or 0 for all; got {}", o.batch));
  if (o.workers < 0 || o.workers > kMostWorkers)
    wrong(fmt::format("expected 0 to {} loader threads, got {}", kMostWorkers, o.workers));
  if (o.prefetch < 0 || o.prefetch > kMostAhead)
    wrong(fmt::format("expected to prefetch 0 to {} batches, got {}", kMostAhead, o.prefetch));
  if (!o.names.empty() && o.names.size() != dataset.fields().size())
    wrong(fmt::format("{} names for the {} fields of the data", o.names.size(),
                      dataset.fields().size()));
  std::set<std::string> names(o.names.begin(), o.names.end());
  const bool repeats = names.size() != o.names.size();
  if (repeats || (!o.reconstruction.empty() && !names.insert(o.reconstruction).second))
    wrong("two fields of the data have the same name");
  if (!o.reconstruction.empty() && !becomes_float(dataset.fields()[0].dtype))
    wrong("only inputs of bytes or floats can be reconstructed; these are " +
          std::string(name_of(dataset.fields()[0].dtype)));
  const bool changes = o.augmentation.needs_images() || o.augmentation.noise > 0 ||
                       !o.normalization.mean.empty() || !o.normalization.deviation.empty();
  if (changes && !becomes_float(dataset.fields()[0].dtype))
    wrong("augmentation and normalisation need bytes or floats; the inputs are " +
          std::string(name_of(dataset.fields()[0].dtype)));
}

/// One batch under construction.
class BatchBuilder {
 public:
  BatchBuilder(const Dataset& dataset, const std::vector<Field>& fields, int64_t count)
      : dataset_(dataset), fields_(fields), read_(dataset.fields().size()), raw_(read_),
        places_(read_) {
    for (size_t i = 0; i < fields.size(); ++i) {
      std::vector<int64_t> dims = fields[i].dims;
      dims.insert(dims.begin(), count);
      tensors_.push_back(Tensor::empty(fields[i].dtype, std::move(dims)));
      each_.push_back(tensors_[i].bytes() / static_cast<size_t>(count));
      if (i >= read_ || !converted(i)) continue;
      const Field& source = dataset.fields()[i];
      raw_[i].resize(static_cast<size_t>(element_count(source.dims)) * size_of(source.dtype));
    }
  }

  /// Row `row` becomes sample `index` of the dataset. Throws DataError.
  void add(int64_t row, int64_t index, const SamplePipeline& pipeline, const RandomDraws& draws) {
    for (size_t i = 0; i < read_; ++i) places_[i] = converted(i) ? raw_[i].data() : row_of(i, row);
    throw_unless_ok(dataset_.read(index, places_));
    for (size_t i = 0; i < read_; ++i) {
      if (!converted(i)) continue;
      const std::span<float> clean =
          fields_.size() > read_ ? floats_of(read_, row) : std::span<float>();
      if (i == 0) pipeline.run(raw_[i].data(), draws, scratch_, floats_of(i, row), clean);
      else convert_to_float(dataset_.fields()[i].dtype, raw_[i].data(), floats_of(i, row));
    }
  }

  Batch take() {
    Batch batch;
    for (size_t i = 0; i < fields_.size(); ++i)
      batch.emplace(fields_[i].name, std::move(tensors_[i]));
    return batch;
  }

 private:
  /// Fields that come out as they are get read into the batch, the others by way of `raw_`.
  bool converted(size_t field) const { return fields_[field].dtype == DType::f32; }
  std::byte* row_of(size_t field, int64_t row) {
    return static_cast<std::byte*>(tensors_[field].mutable_data()) +
           static_cast<size_t>(row) * each_[field];
  }

  std::span<float> floats_of(size_t field, int64_t row) {
    return {reinterpret_cast<float*>(row_of(field, row)), each_[field] / sizeof(float)};
  }

  const Dataset& dataset_;
  const std::vector<Field>& fields_;
  size_t read_;  ///< fields of the dataset; one more is the reconstruction
  std::vector<Tensor> tensors_;
  std::vector<size_t> each_;  ///< bytes of a sample's field
  std::vector<std::vector<std::byte>> raw_;
  std::vector<std::byte*> places_;
  SamplePipeline::Scratch scratch_;
};

}  // namespace

class Loader::Engine {
 public:
  Engine(DatasetPtr dataset, LoaderOptions options);
  ~Engine();

  const Dataset& dataset() const { return *dataset_; }
  const LoaderOptions& options() const { return options_; }
  const std::vector<Field>& fields() const { return fields_; }
  int64_t samples() const { return options_.drop_last ? batches() * batch_ : dataset_->size(); }
  int64_t batches() const { return batches_; }

  void start(int64_t epoch, int64_t batch);
  Result<std::optional<Batch>> next();
  DataCursor cursor() const;

 private:
  Order order_of(int64_t epoch);
  Result<Batch> make(int64_t number);
  void work();

  DatasetPtr dataset_;
  LoaderOptions options_;
  int64_t batch_ = 1, batches_ = 0;
  SamplePipeline pipeline_;
  std::vector<Field> fields_;

  int64_t position_ = 0;      ///< number of the next batch: epoch * batches + batch
  bool epoch_ended_ = false;  ///< next() has to say so before it goes on

  std::mutex order_mutex_;
  std::map<int64_t, Order> orders_;  ///< by epoch; the current and the next

  std::mutex mutex_;
  std::condition_variable work_wanted_, batch_ready_;
  std::map<int64_t, Result<Batch>> ready_;
  int64_t next_to_make_ = 0;
  int64_t generation_ = 0;  ///< counts jumps: batches made for an older one are dropped
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

Loader::Engine::Engine(DatasetPtr dataset, LoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)),
      pipeline_(dataset_->fields()[0], options_.augmentation, options_.evaluation,
                options_.normalization),
      fields_(dataset_->fields()) {
  const int64_t size = dataset_->size();
  batch_ = options_.batch > 0 ? options_.batch : std::max<int64_t>(size, 1);
  batches_ = options_.drop_last ? size / batch_ : size / batch_ + (size % batch_ > 0 ? 1 : 0);
  options_.prefetch = std::max(options_.prefetch, options_.workers);
  for (size_t i = 0; i < fields_.size(); ++i) {
    Field& f = fields_[i];
    if (!options_.names.empty()) f.name = options_.names[i];
    const bool converted = becomes_float(f.dtype) && !f.label;
    if (converted) f.dtype = DType::f32;
    if (i == 0 && converted) f.dims = pipeline_.output_dims();
  }
  if (!options_.reconstruction.empty())
    fields_.push_back({options_.reconstruction, DType::f32, fields_[0].dims});
  for (int i = 0; i < options_.workers && batches_ > 0; ++i)
    workers_.emplace_back([this] { work(); });
}

Loader::Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_wanted_.notify_all();
  for (std::thread& w : workers_) w.join();
}

Order Loader::Engine::order_of(int64_t epoch) {
  const std::lock_guard lock(order_mutex_);
  Order& order = orders_[epoch];
  if (order == nullptr) {
    auto made = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(dataset_->size()));
    std::iota(made->begin(), made->end(), int64_t{0});
    if (options_.shuffle)
      shuffle(*made,
              RandomDraws(options_.seed, RandomDraws::kOrder, static_cast<uint64_t>(epoch), 0));
    order = std::move(made);
  }
  Order result = order;
  // An epoch that lies behind is not asked for again, unless the caller jumps back.
  std::erase_if(orders_, [epoch](const auto& entry) { return entry.first < epoch - 1; });
  if (orders_.size() > 3) orders_.erase(std::prev(orders_.end()));
  return result;
}

Result<Batch> Loader::Engine::make(int64_t number) {
  return without_throwing([&]() -> Result<Batch> {
    const int64_t epoch = number / batches_, first = number % batches_ * batch_;
    const int64_t count = std::min(batch_, dataset_->size() - first);
    const Order order = order_of(epoch);
    BatchBuilder builder(*dataset_, fields_, count);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = (*order)[static_cast<size_t>(first + i)];
      const RandomDraws draws(options_.seed, RandomDraws::kAugment, static_cast<uint64_t>(epoch),
                              static_cast<uint64_t>(index));
      builder.add(i, index, pipeline_, draws);
    }
    return builder.take();
  });
}

void Loader::Engine::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_wanted_.wait(lock, [&] { return stop_ || next_to_make_ < position_ + options_.prefetch; });
    if (stop_) return;
    const int64_t number = next_to_make_++, generation = generation_;
    lock.unlock();
    Result<Batch> batch = make(number);
    lock.lock();
    if (generation == generation_) ready_.emplace(number, std::move(batch));
    batch_ready_.notify_one();
  }
}

void Loader::Engine::start(int64_t epoch, int64_t batch) {
  const std::lock_guard lock(mutex_);
  const int64_t to = epoch * batches_ + std::min(batch, batches_);
  epoch_ended_ = batch >= batches_;
  if (to == position_) return;
  position_ = next_to_make_ = to;
  ready_.clear();
  ++generation_;
  work_wanted_.notify_all();
}

Result<std::optional<Batch>> Loader::Engine::next() {
  if (batches_ == 0 || epoch_ended_) {
    epoch_ended_ = false;
    return std::optional<Batch>();
  }
  const auto taken = [&](Result<Batch> batch) -> Result<std::optional<Batch>> {
    epoch_ended_ = position_ % batches_ == 0;
    if (!batch.ok()) return batch.status();
    return std::optional<Batch>(std::move(batch).value());
  };
  if (workers_.empty()) {
    Result<Batch> batch = make(position_);
    ++position_;
    return taken(std::move(batch));
  }
  std::unique_lock lock(mutex_);
  batch_ready_.wait(lock, [&] { return ready_.count(position_) > 0; });
  Result<Batch> batch = std::move(ready_.extract(position_).mapped());
  ++position_;
  work_wanted_.notify_one();
  return taken(std::move(batch));
}

DataCursor Loader::Engine::cursor() const {
  const int64_t per_epoch = std::max<int64_t>(batches_, 1);
  const int64_t epoch = position_ / per_epoch - (epoch_ended_ ? 1 : 0);
  const int64_t batch = epoch_ended_ ? batches_ : position_ % per_epoch;
  return {epoch, batch, dataset_->size(), batch_, options_.seed, options_.shuffle};
}

Loader::Loader(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Loader::~Loader() = default;

Result<std::unique_ptr<Loader>> Loader::create(DatasetPtr dataset, LoaderOptions options) {
  return without_throwing([&]() -> Result<std::unique_ptr<Loader>> {
    check(*dataset, options);
    return std::unique_ptr<Loader>(
        new Loader(std::make_unique<Engine>(std::move(dataset), std::move(options))));
  });
}

const Dataset& Loader::dataset() const { return engine_->dataset(); }
const LoaderOptions& Loader::options() const { return engine_->options(); }
const std::vector<Field>& Loader::fields() const { return engine_->fields(); }
int64_t Loader::size() const { return engine_->samples(); }
int64_t Loader::batches() const { return engine_->batches(); }
void Loader::start(int64_t epoch, int64_t batch) { engine_->start(epoch, batch); }
Result<std::optional<Batch>> Loader::next() { return engine_->next(); }
DataCursor Loader::cursor() const { return engine_->cursor(); }

Status Loader::seek(const DataCursor& cursor) {
  const DataCursor own = engine_->cursor();
  const auto text = [](const DataCursor& c) {
    return fmt::format("{} samples in {} batches of {} with seed {}", c.size,
                       c.shuffle ? "shuffled" : "ordered", c.batch_size, c.seed);
  };
  if (text(cursor) != text(own))
    return invalid_argument("the saved position is one in " + text(cursor) + "; this data is " +
                            text(own));
  if (cursor.epoch < 0 || cursor.batch < 0 || cursor.batch > engine_->batches())
    return invalid_argument(fmt::format("the saved position is batch {} of epoch {}; an epoch has "
                                        "{} batches",
                                        cursor.batch, cursor.epoch, engine_->batches()));
  engine_->start(cursor.epoch, cursor.batch);
  return {};
}

}  // namespace tintype
