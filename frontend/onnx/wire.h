// Reads protobuf's wire format in place: no copies, no recursion, no read past the end.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tintype::wire {

using Bytes = std::span<const uint8_t>;

/// Bytes that are not a protobuf message.
class Malformed : public std::runtime_error {
 public:
  explicit Malformed(const std::string& message) : std::runtime_error(message) {}
};

enum class Type : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  uint32_t number = 0;
  Type type = Type::varint;
  uint64_t value = 0;  ///< varint and fixed ones
  Bytes bytes;         ///< length-delimited ones: the payload
  Bytes whole;         ///< tag and payload, for copying verbatim

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool is(uint32_t n, Type t) const { return number == n && type == t; }
};

/// Iterates over the fields of one message. Throws Malformed, naming the offset within the message.
class Reader {
 public:
  explicit Reader(Bytes message) : message_(message) {}
  /// Reads the next field; false at the end.
  bool next(Field& field);

 private:
  uint64_t varint();
  Bytes take(uint64_t count);
  [[noreturn]] void fail(const char* what) const;

  Bytes message_;
  size_t at_ = 0;
};

/// Reads one varint from the front of `rest`; throws Malformed.
uint64_t take_varint(Bytes& rest);

void append(std::string& out, Bytes bytes);
void append_varint(std::string& out, uint64_t value);
void append_varint_field(std::string& out, uint32_t number, uint64_t value);
void append_bytes_field(std::string& out, uint32_t number, std::string_view payload);

}  // namespace tintype::wire
