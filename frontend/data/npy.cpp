// The header is a Python dictionary in text; formats: numpy.lib.format, and ZIP for .npz.
#include "frontend/data/npy.h"

#include "frontend/data/bytes.h"
#include "frontend/data/data_error.h"
#include "frontend/data/npy_bytes.h"
#include "runtime/atomic_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

namespace tintype {

namespace {

static_assert(std::endian::native == std::endian::little, "files are read as they are in memory");

constexpr std::string_view kMagic = "\x93NUMPY";

struct NpyType {
  std::string_view code;
  DType dtype;
};
constexpr NpyType kNpyTypes[] = {{"<f4", DType::f32},     {"<f8", DType::f64}, {"<f2", DType::f16},
                                 {"|b1", DType::boolean}, {"|i1", DType::i8},  {"<i2", DType::i16},
                                 {"<i4", DType::i32},     {"<i8", DType::i64}, {"|u1", DType::u8},
                                 {"<u2", DType::u16},     {"<u4", DType::u32}, {"<u8", DType::u64}};

/// Text between `'key':` and the next top-level comma of the header.
std::string header_field(std::string_view header, const std::string& key) {
  const size_t at = header.find("'" + key + "'");
  if (at == std::string_view::npos) return "";
  const size_t colon = header.find(':', at);
  if (colon == std::string_view::npos) return "";
  size_t end = colon + 1;
  for (int depth = 0;
       end < header.size() && (depth > 0 || (header[end] != ',' && header[end] != '}')); ++end) {
    if (header[end] == '(' || header[end] == '[') ++depth;
    if (header[end] == ')' || header[end] == ']') --depth;
  }
  std::string field(header.substr(colon + 1, end - colon - 1));
  std::erase_if(field, [](char c) { return c == ' ' || c == '\''; });
  return field;
}

std::optional<std::vector<int64_t>> parse_shape(std::string_view text) {
  if (text.size() < 2 || text.front() != '(' || text.back() != ')') return std::nullopt;
  std::vector<int64_t> dims;
  std::string digits;
  for (const char c : text.substr(1)) {
    if (c >= '0' && c <= '9') {
      digits += c;
      if (digits.size() > 18) return std::nullopt;
    } else if (c != ',' && c != ')') {
      return std::nullopt;
    } else if (!digits.empty()) {
      dims.push_back(std::stoll(digits));
      digits.clear();
    }
  }
  return dims;
}

struct NpyHeader {
  DType dtype = DType::undefined;
  bool fortran_order = false;
  std::vector<int64_t> dims;
  size_t data_offset = 0;
};

NpyHeader parse_header(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < 12 || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    throw DataError(path, "is not a .npy file");
  const auto byte = [&](size_t i) { return std::to_integer<size_t>(bytes[i]); };
  const size_t major = byte(6);
  if (major < 1 || major > 3)
    throw DataError(path, "npy format version " + std::to_string(major) + "; expected 1 to 3");
  const size_t start = major >= 2 ? 12 : 10;
  size_t length = byte(8) | (byte(9) << 8);
  if (major >= 2) length |= (byte(10) << 16) | (byte(11) << 24);
  if (length > bytes.size() - start)
    throw DataError(path, "the header reaches past the end of the file");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + start, length);
  const std::string code = header_field(text, "descr");
  const auto* type = std::find_if(std::begin(kNpyTypes), std::end(kNpyTypes),
                                  [&](const NpyType& t) { return t.code == code; });
  if (type == std::end(kNpyTypes))
    throw DataError(path, "element type '" + code + "' is not supported; expected little-endian " +
                              "numbers or bool: convert with numpy.ndarray.astype");
  const std::string order = header_field(text, "fortran_order");
  if (order != "False" && order != "True")
    throw DataError(path, "the header says neither C nor Fortran order");
  auto dims = parse_shape(header_field(text, "shape"));
  if (!dims) throw DataError(path, "the shape in the header cannot be read");
  return {type->dtype, order == "True", std::move(*dims), start + length};
}

/// Column-major elements to row-major ones: `from` has the first extent varying fastest.
Tensor from_fortran_order(const Tensor& from) {
  Tensor to = Tensor::empty(from.dtype(), from.dims());
  const size_t element = size_of(from.dtype());
  const auto* source = static_cast<const std::byte*>(from.data());
  auto* target = static_cast<std::byte*>(to.mutable_data());
  std::vector<int64_t> index(from.dims().size(), 0);
  for (int64_t i = 0; i < from.size(); ++i) {
    int64_t at = 0;
    for (size_t d = index.size(); d-- > 0;) at = at * from.dims()[d] + index[d];
    std::memcpy(target + static_cast<size_t>(i) * element,
                source + static_cast<size_t>(at) * element, element);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < from.dims()[d]) break;
      index[d] = 0;
    }
  }
  return to;
}

}  // namespace

bool is_npy(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

Tensor parse_npy(const Bytes& bytes, const std::string& path) {
  const NpyHeader header = parse_header(bytes.data, path);
  const std::span<const std::byte> data = bytes.data.subspan(header.data_offset);
  size_t wanted = 0;
  try {
    const auto count = static_cast<size_t>(element_count(header.dims));
    if (count > SIZE_MAX / size_of(header.dtype)) throw std::length_error("too many elements");
    wanted = count * size_of(header.dtype);
  } catch (const std::length_error& e) {
    throw DataError(path, std::string("the shape in the header is impossible: ") + e.what());
  }
  if (wanted != data.size())
    throw DataError(path, "holds " + std::to_string(data.size()) + " bytes of data, expected " +
                              std::to_string(wanted) + " for " +
                              type_string(header.dtype, header.dims));
  // NumPy aligns the data to 64 bytes; other writers may not.
  Tensor t = Tensor::borrow(header.dtype, header.dims, data.data(), bytes.owner);
  if (reinterpret_cast<uintptr_t>(data.data()) % size_of(header.dtype) != 0) t = t.clone();
  return header.fortran_order ? from_fortran_order(t) : t;
}

Result<Tensor> load_npy(const std::string& path) {
  return without_throwing([&]() -> Result<Tensor> { return parse_npy(read_bytes(path), path); });
}

Status save_npy(const Tensor& tensor, const std::string& path) {
  const auto* type = std::find_if(std::begin(kNpyTypes), std::end(kNpyTypes),
                                  [&](const NpyType& t) { return t.dtype == tensor.dtype(); });
  if (type == std::end(kNpyTypes))
    return {StatusCode::unsupported,
            path + ": numpy has no element type " + std::string(name_of(tensor.dtype()))};
  std::string header =
      "{'descr': '" + std::string(type->code) + "', 'fortran_order': False, 'shape': (";
  for (int64_t d : tensor.dims()) header += std::to_string(d) + ",";
  header += "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string head(kMagic);
  head += {'\x01', '\x00', static_cast<char>(header.size() & 0xff),
           static_cast<char>(header.size() >> 8)};
  head += header;
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) return file.status();
  if (Status s = file.value().write(std::as_bytes(std::span(head))); !s.ok()) return s;
  const std::span data(static_cast<const std::byte*>(tensor.data()), tensor.bytes());
  if (Status s = file.value().write(data); !s.ok()) return s;
  return file.value().commit();
}

}  // namespace tintype
