// TensorProto payloads: raw bytes, packed and unpacked lists, external files.
#include "frontend/onnx/tensor_decode.h"

#include "ir/diagnostic.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <onnx/onnx_pb.h>
#include <optional>
#include <stdexcept>

namespace tintype {

static_assert(std::endian::native == std::endian::little, "ONNX tensors are little-endian");

namespace {

using wire::Bytes;
using wire::Field;
using wire::Type;

// Field numbers of TensorProto and StringStringEntryProto.
enum : uint32_t {
  kDims = 1,
  kDataType = 2,
  kSegment = 3,
  kFloatData = 4,
  kInt32Data = 5,
  kStringData = 6,
  kInt64Data = 7,
  kName = 8,
  kRawData = 9,
  kDoubleData = 10,
  kUint64Data = 11,
  kExternalData = 13,
  kDataLocation = 14,
  kKey = 1,
  kValue = 2,
};

bool is_element_list(uint32_t number) {
  return number == kFloatData || number == kInt32Data || number == kStringData ||
         number == kInt64Data || number == kDoubleData || number == kUint64Data;
}

struct Payload {
  std::optional<Bytes> raw;
  std::vector<Field> lists;  ///< pieces of the typed lists, in order
  uint32_t list_number = 0;
  std::map<std::string, std::string> external;
};

void read_external_entry(Bytes entry, Payload& payload) {
  std::string key, value;
  wire::Reader reader(entry);
  for (Field f; reader.next(f);) {
    if (f.is(kKey, Type::bytes)) key = f.text();
    if (f.is(kValue, Type::bytes)) value = f.text();
  }
  if (!payload.external.emplace(key, value).second)
    throw Error("external data repeats the key '" + key + "'");
}

Payload read_payload(Bytes message) {
  Payload payload;
  wire::Reader reader(message);
  for (Field f; reader.next(f);) {
    if (f.is(kRawData, Type::bytes)) {
      payload.raw = f.bytes;
    } else if (f.is(kExternalData, Type::bytes)) {
      read_external_entry(f.bytes, payload);
    } else if (f.number == kSegment) {
      throw Error("segmented tensors are not supported");
    } else if (is_element_list(f.number) && !(f.type == Type::bytes && f.bytes.empty())) {
      if (payload.list_number != 0 && payload.list_number != f.number)
        throw Error("elements are given in two lists at once");
      payload.list_number = f.number;
      payload.lists.push_back(f);
    }
  }
  return payload;
}

uint64_t external_number(const Payload& payload, const char* key, uint64_t fallback) {
  const auto it = payload.external.find(key);
  if (it == payload.external.end()) return fallback;
  const std::string& text = it->second;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() ||
      value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw Error("external data " + std::string(key) + " '" + text.substr(0, 40) +
                "' is not a byte count");
  return value;
}

struct Span {
  Bytes bytes;
  std::shared_ptr<const void> owner;
};

Span external_bytes(const Payload& payload, size_t needed, ExternalData& external) {
  const auto location = payload.external.find("location");
  if (location == payload.external.end()) throw Error("external data has no location");
  const uint64_t offset = external_number(payload, "offset", 0);
  const uint64_t length = external_number(payload, "length", needed);
  if (length != needed)
    throw Error("external data has length " + std::to_string(length) + ", the tensor needs " +
                std::to_string(needed) + " bytes");
  const MappedFile& file = external.file(location->second);
  const size_t size = file.bytes.size();
  if (needed > size || offset > size - needed)
    throw Error("external data at offset " + std::to_string(offset) + " with " +
                std::to_string(needed) + " bytes runs past the end of '" + location->second +
                "' (" + std::to_string(size) + " bytes)");
  return {file.bytes.subspan(offset, needed), file.owner};
}

bool is_aligned(const uint8_t* p, DType dtype) {
  return reinterpret_cast<uintptr_t>(p) % size_of(dtype) == 0;
}

/// A boolean byte other than 0 and 1 would be undefined behaviour wherever it is read as bool.
bool has_valid_booleans(Bytes bytes) {
  for (uint8_t b : bytes)
    if (b > 1) return false;
  return true;
}

Tensor from_little_endian(DType dtype, std::vector<int64_t> dims, const Span& data) {
  const std::shared_ptr<const void> owner = lend(data.bytes, data.owner);
  const bool normalise = dtype == DType::boolean && !has_valid_booleans(data.bytes);
  if (data.owner != nullptr && is_aligned(data.bytes.data(), dtype) && !normalise)
    return Tensor::borrow(dtype, std::move(dims), data.bytes.data(), owner);
  Tensor t = Tensor::empty(dtype, std::move(dims));
  if (!data.bytes.empty()) std::memcpy(t.mutable_data(), data.bytes.data(), data.bytes.size());
  if (normalise)
    for (uint8_t& b : std::span(static_cast<uint8_t*>(t.mutable_data()), t.bytes())) b = b != 0;
  return t;
}

uint32_t list_for(DType dtype) {
  switch (dtype) {
    case DType::f32: return kFloatData;
    case DType::f64: return kDoubleData;
    case DType::i64: return kInt64Data;
    case DType::u32:
    case DType::u64: return kUint64Data;
    default: return kInt32Data;
  }
}

/// Writes elements of the lists one after the other, checking the count.
class ElementWriter {
 public:
  explicit ElementWriter(Tensor& tensor)
      : tensor_(tensor), out_(static_cast<uint8_t*>(tensor.mutable_data())) {}

  void varint(uint64_t value) {
    if (count_ == tensor_.size()) too_many();
    switch (tensor_.dtype()) {
      case DType::boolean: store<uint8_t>(value != 0 ? 1 : 0); break;
      case DType::i8: ranged<int8_t>(value); break;
      case DType::i16: ranged<int16_t>(value); break;
      case DType::i32: ranged<int32_t>(value); break;
      case DType::u8: ranged<uint8_t>(value); break;
      case DType::u16:
      case DType::f16:
      case DType::bf16: ranged<uint16_t>(value); break;
      case DType::u32:
        if (value > std::numeric_limits<uint32_t>::max()) out_of_range(static_cast<int64_t>(value));
        store(static_cast<uint32_t>(value));
        break;
      default: store(value); break;
    }
  }
  void fixed(uint64_t bits) {
    if (count_ == tensor_.size()) too_many();
    tensor_.dtype() == DType::f32 ? store(static_cast<uint32_t>(bits)) : store(bits);
  }
  void bytes(Bytes packed) {
    const size_t element = size_of(tensor_.dtype());
    if (packed.size() % element != 0) throw Error("packed element list has an odd byte count");
    if (packed.size() / element > static_cast<size_t>(tensor_.size() - count_)) too_many();
    std::memcpy(out_, packed.data(), packed.size());
    out_ += packed.size();
    count_ += static_cast<int64_t>(packed.size() / element);
  }
  void finish() const {
    if (count_ != tensor_.size())
      throw Error(tensor_.type_string() + " needs " + std::to_string(tensor_.size()) +
                  " elements, found " + std::to_string(count_));
  }

 private:
  [[noreturn]] void too_many() const {
    throw Error(tensor_.type_string() + " needs " + std::to_string(tensor_.size()) +
                " elements, found more");
  }
  [[noreturn]] void out_of_range(int64_t value) const {
    throw Error("element " + std::to_string(value) + " does not fit " +
                std::string(name_of(tensor_.dtype())));
  }
  template <typename T>
  void ranged(uint64_t value) {
    const auto v = static_cast<int64_t>(value);
    if (v < std::numeric_limits<T>::min() || v > std::numeric_limits<T>::max()) out_of_range(v);
    store(static_cast<T>(v));
  }
  template <typename T>
  void store(T value) {
    std::memcpy(out_, &value, sizeof(T));
    out_ += sizeof(T);
    ++count_;
  }

  Tensor& tensor_;
  uint8_t* out_;
  int64_t count_ = 0;
};

Tensor from_lists(DType dtype, std::vector<int64_t> dims, int64_t count, const Payload& payload,
                  const std::shared_ptr<const void>& owner) {
  if (payload.list_number != 0 && payload.list_number != list_for(dtype))
    throw Error("elements of type " + std::string(name_of(dtype)) +
                " are given in the list of another type");
  // Every element takes a byte at least, so this bounds the allocation by the size of the file.
  size_t available = 0;
  for (const Field& f : payload.lists) available += f.whole.size();
  if (static_cast<uint64_t>(count) > available)
    throw Error(type_string(dtype, dims) + " needs " + std::to_string(count) +
                " elements, found at most " + std::to_string(available));
  const bool as_stored = payload.list_number == kFloatData || payload.list_number == kDoubleData;
  if (as_stored && payload.lists.size() == 1 && payload.lists[0].type == Type::bytes &&
      payload.lists[0].bytes.size() == static_cast<size_t>(count) * size_of(dtype))
    return from_little_endian(dtype, std::move(dims), {payload.lists[0].bytes, owner});
  Tensor t = Tensor::empty(dtype, std::move(dims));
  ElementWriter writer(t);
  for (const Field& f : payload.lists) {
    if (f.type == Type::varint && !as_stored) {
      writer.varint(f.value);
    } else if (f.type == (dtype == DType::f32 ? Type::fixed32 : Type::fixed64) && as_stored) {
      writer.fixed(f.value);
    } else if (f.type == Type::bytes && as_stored) {
      writer.bytes(f.bytes);
    } else if (f.type == Type::bytes) {
      for (Bytes rest = f.bytes; !rest.empty();) writer.varint(wire::take_varint(rest));
    } else {
      throw Error("element list has the wrong wire type");
    }
  }
  writer.finish();
  return t;
}

}  // namespace

const MappedFile& ExternalData::file(const std::string& location) {
  if (directory_.empty())
    throw Error("external data is refused for a model that is not a file in a directory");
  auto it = files_.find(location);
  if (it == files_.end())
    it = files_.emplace(location, map_file_beneath(directory_, location)).first;
  return it->second;
}

TensorRecord scan_tensor(Bytes message) {
  TensorRecord record;
  record.message = message;
  wire::Reader reader(message);
  for (Field f; reader.next(f);) {
    if (f.is(kDims, Type::varint)) {
      record.dims.push_back(static_cast<int64_t>(f.value));
    } else if (f.is(kDims, Type::bytes)) {
      for (Bytes rest = f.bytes; !rest.empty();)
        record.dims.push_back(static_cast<int64_t>(wire::take_varint(rest)));
    } else if (f.is(kDataType, Type::varint)) {
      record.data_type = static_cast<int32_t>(f.value);
    } else if (f.is(kName, Type::bytes)) {
      record.name = f.text();
    } else if (f.is(kDataLocation, Type::varint)) {
      record.external = f.value == onnx::TensorProto::EXTERNAL;
    } else if (f.number == kRawData || is_element_list(f.number)) {
      record.payload += f.whole.size();
    }
  }
  return record;
}

Tensor decode_tensor(const TensorRecord& record, const std::shared_ptr<const void>& owner,
                     ExternalData& external, const Limits& limits) {
  const DType dtype = dtype_from_onnx(record.data_type);
  if (dtype == DType::undefined)
    throw Error("element type " + onnx_type_name(record.data_type) + " is not supported");
  if (record.dims.size() > static_cast<size_t>(limits.rank))
    throw Error("tensor has " + std::to_string(record.dims.size()) + " extents, at most " +
                std::to_string(limits.rank) + " are allowed");
  int64_t count = 0;
  size_t needed = 0;
  try {
    count = element_count(record.dims);
  } catch (const std::length_error& e) {
    throw Error(e.what());
  }
  if (__builtin_mul_overflow(static_cast<size_t>(count), size_of(dtype), &needed))
    throw Error("byte count overflows in " + type_string(dtype, record.dims));
  const Payload payload = read_payload(record.message);
  if (record.external) {
    if (payload.raw.has_value() || payload.list_number != 0)
      throw Error("tensor has both external and internal data");
    return from_little_endian(dtype, record.dims, external_bytes(payload, needed, external));
  }
  if (!payload.raw.has_value()) return from_lists(dtype, record.dims, count, payload, owner);
  if (payload.list_number != 0) throw Error("tensor has both raw and typed data");
  if (payload.raw->size() != needed)
    throw Error(type_string(dtype, record.dims) + " needs " + std::to_string(needed) +
                " bytes of data, found " + std::to_string(payload.raw->size()));
  return from_little_endian(dtype, record.dims, {*payload.raw, owner});
}

}  // namespace tintype
