// Eight bytes of length, a JSON object, the elements.
#include "frontend/data/safetensors.h"

#include "frontend/data/data_error.h"
#include "frontend/data/json.h"
#include "runtime/atomic_file.h"
#include "runtime/mapped_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

namespace tintype {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kMostHeader = 100'000'000;  ///< as in the reference implementation
constexpr size_t kAlignment = 64;
constexpr const char* kMetadata = "__metadata__";

struct NamedType {
  const char* name;
  DType dtype;
};
constexpr NamedType kTypes[] = {{"BOOL", DType::boolean}, {"U8", DType::u8},   {"I8", DType::i8},
                                {"I16", DType::i16},      {"U16", DType::u16}, {"F16", DType::f16},
                                {"BF16", DType::bf16},    {"I32", DType::i32}, {"U32", DType::u32},
                                {"F32", DType::f32},      {"F64", DType::f64}, {"I64", DType::i64},
                                {"U64", DType::u64}};

DType dtype_named(const std::string& name, const std::string& tensor) {
  for (const NamedType& t : kTypes)
    if (name == t.name) return t.dtype;
  throw DataError("tensor '" + tensor + "'",
                  "element type '" + name +
                      "' is not supported; expected BOOL, I8 to I64, U8 to "
                      "U64, F16, BF16, F32 or F64");
}

const char* name_of_type(DType dtype) {
  for (const NamedType& t : kTypes)
    if (dtype == t.dtype) return t.name;
  return nullptr;
}

/// JSON whose objects have no key twice; the library would take the last one.
Json parse_strictly(std::string_view text) {
  std::vector<std::set<std::string>> open;
  const auto watch = [&open](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMostJsonDepth) throw JsonTooDeep();
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
      throw DataError("header", "the name '" + value.get<std::string>() + "' is there twice");
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& e) {
    throw DataError("header", std::string("is not JSON: ") + fault_of(e));
  }
}

uint64_t unsigned_in(const Json& value, const std::string& tensor, const char* what) {
  if (!value.is_number_unsigned())
    throw DataError("tensor '" + tensor + "'",
                    std::string(what) + ": expected a whole number from 0, found " + value.dump());
  return value.get<uint64_t>();
}

/// Where a tensor lies, with everything checked that concerns it alone.
struct Entry {
  std::string name;
  DType dtype;
  std::vector<int64_t> dims;
  uint64_t begin, end;
};

std::vector<int64_t> dims_in(const Json& list, const std::string& tensor) {
  if (!list.is_array())
    throw DataError("tensor '" + tensor + "'", "shape: expected a list, found " + list.dump());
  std::vector<int64_t> dims;
  for (const Json& d : list) {
    const uint64_t extent = unsigned_in(d, tensor, "shape");
    if (extent > static_cast<uint64_t>(INT64_MAX))
      throw DataError("tensor '" + tensor + "'", "shape: an extent is too large");
    dims.push_back(static_cast<int64_t>(extent));
  }
  return dims;
}

Entry entry_in(const std::string& name, const Json& json) {
  const auto wrong = [&name](const std::string& why) {
    return DataError("tensor '" + name + "'", why);
  };
  if (!json.is_object()) throw wrong("expected an object, found " + json.dump());
  for (const auto& [key, value] : json.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      throw wrong("unexpected key '" + key + "'");
  if (json.size() != 3 || !json["dtype"].is_string())
    throw wrong("expected dtype, shape and data_offsets");
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) throw wrong("data_offsets: expected two numbers");
  Entry e = {name, dtype_named(json["dtype"].get<std::string>(), name),
             dims_in(json["shape"], name), unsigned_in(offsets[0], name, "data_offsets"),
             unsigned_in(offsets[1], name, "data_offsets")};
  uint64_t count = 0;
  try {
    count = static_cast<uint64_t>(element_count(e.dims));
  } catch (const std::length_error& error) {
    throw wrong(std::string("shape: ") + error.what());
  }
  const uint64_t element = size_of(e.dtype);
  if (e.begin > e.end || count > UINT64_MAX / element || e.end - e.begin != count * element)
    throw wrong(fmt::format("data_offsets [{}, {}] do not hold {}", e.begin, e.end,
                            type_string(e.dtype, e.dims)));
  return e;
}

/// The tensors one behind the other, from 0 to `size`.
void check_cover(std::vector<Entry>& entries, uint64_t size) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Entry& e : entries) {
    if (e.begin != at)
      throw DataError("tensor '" + e.name + "'",
                      fmt::format("begins at byte {} of the data, expected {}: tensors {}", e.begin,
                                  at, e.begin < at ? "overlap" : "leave a gap"));
    at = e.end;
  }
  if (at != size)
    throw DataError("data",
                    fmt::format("the header describes {} bytes, the file has {}", at, size));
}

Tensor tensor_at(const Entry& e, std::span<const std::byte> data,
                 const std::shared_ptr<const void>& owner) {
  const std::byte* first = data.data() + e.begin;
  const Tensor t = Tensor::borrow(e.dtype, e.dims, first, owner);
  if (e.dtype == DType::boolean)
    for (const uint8_t b : t.values<uint8_t>())
      if (b > 1) throw DataError("tensor '" + e.name + "'", "a bool is neither 0 nor 1");
  return reinterpret_cast<uintptr_t>(first) % size_of(e.dtype) == 0 ? t : t.clone();
}

std::map<std::string, std::string> metadata_in(const Json& json) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object()) throw DataError(kMetadata, "expected an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) throw DataError(kMetadata, "'" + key + "' is not a string");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

}  // namespace

Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::shared_ptr<const void>& owner) {
  return without_throwing([&]() -> Result<SafetensorsFile> {
    uint64_t length = 0;
    if (bytes.size() < sizeof length)
      throw DataError("header", "the file has " + std::to_string(bytes.size()) +
                                    " bytes, too few for a safetensors file");
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > kMostHeader || length > bytes.size() - sizeof length)
      throw DataError("header", "claims " + std::to_string(length) + " bytes, the file has " +
                                    std::to_string(bytes.size()) + ": no safetensors file, or cut");
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length,
                                length);
    if (!text.starts_with('{')) throw DataError("header", "does not begin with '{'");
    const Json header = parse_strictly(text);
    const std::span<const std::byte> data = bytes.subspan(sizeof length + length);
    SafetensorsFile file;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) file.metadata = metadata_in(value);
      else entries.push_back(entry_in(name, value));
    }
    check_cover(entries, data.size());
    for (const Entry& e : entries) file.tensors.emplace(e.name, tensor_at(e, data, owner));
    return file;
  });
}

Result<SafetensorsLayout> safetensors_layout(const SafetensorsFile& content) {
  return without_throwing([&]() -> Result<SafetensorsLayout> {
    std::vector<std::pair<const std::string*, const Tensor*>> order;
    for (const auto& [name, tensor] : content.tensors) {
      if (name == kMetadata || name_of_type(tensor.dtype()) == nullptr)
        return invalid_argument(
            "tensor '" + name + "' cannot be written: " +
            (name == kMetadata ? "the name is reserved" : std::string(name_of(tensor.dtype()))));
      order.emplace_back(&name, &tensor);
    }
    // Large elements first: each tensor is then aligned to its elements. The map gave the names in
    // order.
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return size_of(a.second->dtype()) > size_of(b.second->dtype());
    });
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!content.metadata.empty()) header[kMetadata] = content.metadata;
    SafetensorsLayout layout;
    uint64_t at = 0;
    for (const auto& [name, tensor] : order) {
      header[*name] = {{"dtype", name_of_type(tensor->dtype())},
                       {"shape", tensor->dims()},
                       {"data_offsets", {at, at + tensor->bytes()}}};
      at += tensor->bytes();
      layout.order.push_back(tensor);
    }
    std::string text;
    try {
      text = header.dump();
    } catch (const Json::exception&) {
      return invalid_argument("a tensor's name or the metadata is not UTF-8 text");
    }
    const size_t used = sizeof(uint64_t) + text.size();
    text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
    if (text.size() > kMostHeader) return invalid_argument("too many tensors for one file");
    const uint64_t length = text.size();
    layout.head.assign(reinterpret_cast<const char*>(&length), sizeof length);
    layout.head += text;
    return layout;
  });
}

Result<SafetensorsFile> load_safetensors(const std::string& path) {
  const auto mapped = MappedFile::open(path);
  if (!mapped.ok()) return mapped.status();
  Result<SafetensorsFile> file = parse_safetensors(mapped.value()->bytes(), mapped.value());
  if (!file.ok()) return Status(file.status().code(), path + ": " + file.status().message());
  return file;
}

Status save_safetensors(const SafetensorsFile& content, const std::string& path) {
  const Result<SafetensorsLayout> layout = safetensors_layout(content);
  if (!layout.ok()) return {layout.status().code(), path + ": " + layout.status().message()};
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) return file.status();
  if (Status s = file.value().write(std::as_bytes(std::span(layout.value().head))); !s.ok())
    return s;
  for (const Tensor* t : layout.value().order)
    if (Status s = file.value().write({static_cast<const std::byte*>(t->data()), t->bytes()});
        !s.ok())
      return s;
  return file.value().commit();
}

}  // namespace tintype
