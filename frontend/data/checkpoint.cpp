// A header with a checksum, then a safetensors file; docs/data.md describes both.
#include "frontend/data/checkpoint.h"

#include "frontend/data/data_error.h"
#include "frontend/data/json.h"
#include "frontend/data/safetensors.h"
#include "runtime/atomic_file.h"
#include "runtime/checksum.h"
#include "runtime/mapped_file.h"
#include "runtime/scalar.h"

#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace tintype {

namespace {

using Json = nlohmann::json;

constexpr std::array<char, 8> kMagic = {'T', 'T', 'C', 'H', 'E', 'C', 'K', '\n'};

struct Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t reserved;
  uint64_t file_size;
  uint64_t unused[3];
  Checksum checksum;  ///< of the file with these 16 bytes taken as zero
};
static_assert(sizeof(Header) == 64 && std::is_trivially_copyable_v<Header>);
static_assert(std::endian::native == std::endian::little, "files are little-endian");

std::span<const std::byte> bytes_of(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

/// Doubles as the hexadecimal digits of their bits: any value, infinities too, reads back exactly.
Json exact_list(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double v : values) list.push_back(fmt::format("{:016x}", std::bit_cast<uint64_t>(v)));
  return list;
}

std::vector<double> values_in(const Json& list) {
  std::vector<double> values;
  for (const Json& text : list)
    values.push_back(std::bit_cast<double>(
        static_cast<uint64_t>(std::stoull(text.get<std::string>(), nullptr, 16))));
  return values;
}

std::string run_text(const Checkpoint& c) {
  const Json run = {{"step", c.step},
                    {"seed", c.seed},
                    {"schedule", exact_list(c.schedule)},
                    {"cursor",
                     {{"epoch", c.cursor.epoch},
                      {"batch", c.cursor.batch},
                      {"size", c.cursor.size},
                      {"batch_size", c.cursor.batch_size},
                      {"seed", c.cursor.seed},
                      {"shuffle", c.cursor.shuffle}}}};
  return run.dump();
}

void read_run(const std::string& text, Checkpoint& c) {
  const Json run = parse_json(text);
  run.at("step").get_to(c.step);
  run.at("seed").get_to(c.seed);
  c.schedule = values_in(run.at("schedule"));
  const Json& cursor = run.at("cursor");
  cursor.at("epoch").get_to(c.cursor.epoch);
  cursor.at("batch").get_to(c.cursor.batch);
  cursor.at("size").get_to(c.cursor.size);
  cursor.at("batch_size").get_to(c.cursor.batch_size);
  cursor.at("seed").get_to(c.cursor.seed);
  cursor.at("shuffle").get_to(c.cursor.shuffle);
}

Status write(AtomicFile& file, const SafetensorsLayout& layout) {
  Header header{kMagic, kCheckpointVersion, 0, sizeof(Header) + layout.head.size(), {}, {}};
  for (const Tensor* t : layout.order) header.file_size += t->bytes();
  ChecksumStream checksum;
  Status status;
  const auto append = [&](std::span<const std::byte> bytes) {
    checksum.add(bytes);
    if (status.ok()) status = file.write(bytes);
  };
  append(bytes_of(header));
  append(std::as_bytes(std::span(layout.head)));
  for (const Tensor* t : layout.order)
    append({static_cast<const std::byte*>(t->data()), t->bytes()});
  if (!status.ok()) return status;
  header.checksum = checksum.result();
  if (Status s = file.write_at(0, bytes_of(header)); !s.ok()) return s;
  return file.commit();
}

/// What follows the header of an intact file. Throws DataError naming `path`.
std::span<const std::byte> checked_content(std::span<const std::byte> file,
                                           const std::string& path) {
  Header header;
  if (file.size() < sizeof header)
    throw DataError(path, fmt::format("has {} bytes, too few for a checkpoint", file.size()));
  std::memcpy(&header, file.data(), sizeof header);
  if (header.magic != kMagic) throw DataError(path, "is not a checkpoint of Tintype");
  if (header.file_size != file.size())
    throw DataError(path, fmt::format("has {} bytes, {} were written: it was cut short or added to",
                                      file.size(), header.file_size));
  const Checksum recorded = std::exchange(header.checksum, {});
  ChecksumStream stream;
  stream.add(bytes_of(header));
  stream.add(file.subspan(sizeof header));
  if (stream.result() != recorded)
    throw DataError(path, "the checksum does not match: the file is damaged");
  if (header.version != kCheckpointVersion)
    throw DataError(
        Status(StatusCode::unsupported, fmt::format("{}: is a checkpoint of format {}, expected {}",
                                                    path, header.version, kCheckpointVersion)));
  return file.subspan(sizeof header);
}

Tensor average_of(std::span<const std::map<std::string, Tensor>> checkpoints,
                  const std::string& name) {
  const Tensor& first = checkpoints.front().at(name);
  Tensor mean = first.clone();
  if (!is_float(first.dtype())) {
    for (const auto& c : checkpoints)
      if (first.bytes() > 0 && std::memcmp(c.at(name).data(), first.data(), first.bytes()) != 0)
        throw DataError("tensor '" + name + "'",
                        "holds " + first.type_string() + " that differ; only floats have a mean");
    return mean;
  }
  const size_t element = size_of(first.dtype());
  const bool narrow = element < sizeof(float);
  for (size_t i = 0; i < static_cast<size_t>(first.size()); ++i) {
    double sum = 0;
    for (const auto& c : checkpoints)
      sum += load_scalar(first.dtype(),
                         static_cast<const std::byte*>(c.at(name).data()) + i * element);
    const double value = sum / static_cast<double>(checkpoints.size());
    // Half precision is stored by way of f32, which must not round as well.
    store_scalar(first.dtype(), narrow ? static_cast<double>(f64_to_f32_odd(value)) : value,
                 static_cast<std::byte*>(mean.mutable_data()) + i * element);
  }
  return mean;
}

}  // namespace

Status save_checkpoint(const Checkpoint& checkpoint, const std::string& path) {
  return without_throwing([&]() -> Status {
    if (!parse_json_or_discard(checkpoint.metadata).is_object())
      return invalid_argument(path + ": the metadata of a checkpoint is no JSON object");
    const SafetensorsFile content = {
        checkpoint.tensors, {{"run", run_text(checkpoint)}, {"metadata", checkpoint.metadata}}};
    const Result<SafetensorsLayout> layout = safetensors_layout(content);
    if (!layout.ok()) return {layout.status().code(), path + ": " + layout.status().message()};
    Result<AtomicFile> file = AtomicFile::create(path);
    return file.ok() ? write(file.value(), layout.value()) : file.status();
  });
}

Result<Checkpoint> load_checkpoint(const std::string& path) {
  return without_throwing([&]() -> Result<Checkpoint> {
    const auto mapped = value_or_throw(MappedFile::open(path));
    Result<SafetensorsFile> content =
        parse_safetensors(checked_content(mapped->bytes(), path), mapped);
    if (!content.ok()) throw DataError(path, content.status().message());
    Checkpoint c;
    c.tensors = std::move(content.value().tensors);
    try {
      read_run(content.value().metadata.at("run"), c);
      c.metadata = content.value().metadata.at("metadata");
    } catch (const std::exception& e) {
      throw DataError(path, std::string("the description of the run cannot be read: ") + e.what());
    }
    return c;
  });
}

Result<std::map<std::string, Tensor>> average_checkpoints(
    std::span<const std::map<std::string, Tensor>> checkpoints) {
  return without_throwing([&]() -> Result<std::map<std::string, Tensor>> {
    if (checkpoints.empty()) return invalid_argument("there is nothing to average");
    std::map<std::string, Tensor> mean;
    for (const auto& c : checkpoints) {
      for (const auto& [name, tensor] : c) {
        const auto first = checkpoints.front().find(name);
        if (first == checkpoints.front().end() || first->second.dtype() != tensor.dtype() ||
            first->second.dims() != tensor.dims())
          throw DataError("tensor '" + name + "'", first == checkpoints.front().end()
                                                       ? std::string("is not in all checkpoints")
                                                       : "is " + first->second.type_string() +
                                                             " in one checkpoint and " +
                                                             tensor.type_string() + " in another");
      }
      if (c.size() != checkpoints.front().size())
        return invalid_argument("the checkpoints do not hold the same tensors");
    }
    for (const auto& [name, tensor] : checkpoints.front())
      mean.emplace(name, average_of(checkpoints, name));
    return mean;
  });
}

}  // namespace tintype
