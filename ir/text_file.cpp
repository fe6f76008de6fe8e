// Graphs as files: the text, and beside it one file with the tensors that are too large for text.
//
// The tensor file is a text header, "tintype tensors 1" and one line `"name" type[dims] offset` per
// tensor, closed by an empty line; offsets count from the start of the file and are multiples
// of 64.
#include "ir/diagnostic.h"
#include "ir/lexer.h"
#include "ir/open_text.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "runtime/atomic_file.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

namespace tintype {

namespace {

constexpr std::string_view kMagic = "tintype tensors 1";
constexpr size_t kAlignment = 64;

std::string tensor_path(const std::string& path) { return path + ".tensors"; }

std::string read_file(const std::string& path) {
  std::ifstream file = open_text(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) throw Error(path + ": is empty");
  return text;
}

void require(const Status& status) {
  if (!status.ok()) throw Error(status.message());
}

AtomicFile create(const std::string& path) {
  Result<AtomicFile> file = AtomicFile::create(path);
  require(file.status());
  return std::move(file).value();
}

void write(AtomicFile& file, const void* data, size_t bytes) {
  require(file.write({static_cast<const std::byte*>(data), bytes}));
}

size_t aligned(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

/// The header with offsets of tensors laid out one after another. Offsets are in it, so it is made
/// again until its own length has settled.
std::string header_of(const TensorTable& tensors) {
  size_t length = 0;
  for (std::string header;;) {
    header = std::string(kMagic) + "\n";
    size_t offset = aligned(length);
    for (const auto& [name, tensor] : tensors) {
      header +=
          quoted_text(name) + " " + tensor.type_string() + " " + std::to_string(offset) + "\n";
      offset = aligned(offset + tensor.bytes());
    }
    header += "\n";
    if (header.size() <= length) return header + std::string(length - header.size(), '\n');
    length = header.size();
  }
}

void write_tensors(const TensorTable& tensors, AtomicFile& file) {
  const std::string header = header_of(tensors);
  size_t at = header.size();
  write(file, header.data(), header.size());
  const std::string zeros(kAlignment, '\0');
  for (const auto& [name, tensor] : tensors) {
    write(file, zeros.data(), aligned(at) - at);
    write(file, tensor.data(), tensor.bytes());
    at = aligned(at) + tensor.bytes();
  }
}

/// False for devices and pipes.
bool is_or_becomes_a_file(const std::string& path) {
  return !std::filesystem::exists(path) || std::filesystem::is_regular_file(path);
}

/// True when the product of the extents is at most `limit`.
bool fits(const std::vector<int64_t>& dims, size_t limit) {
  size_t count = 1;
  for (int64_t d : dims) {
    if (d == 0) return true;
    if (__builtin_mul_overflow(count, static_cast<size_t>(d), &count)) return false;
  }
  return count <= limit;
}

TensorTable load_tensors(const std::string& path) {
  auto bytes = std::make_shared<const std::string>(read_file(path));
  if (!bytes->starts_with(kMagic)) throw Error(path + ": is not a file of tensors");
  const size_t end = bytes->find("\n\n");
  if (end == std::string::npos) throw Error(path + ": its header does not end");
  TensorTable table;
  Lexer in(std::string_view(*bytes).substr(0, end));
  in.expect(kMagic);
  while (!in.at_end()) {
    const std::string name = in.quoted();
    const DType dtype = in.dtype();
    const std::vector<int64_t> dims = in.numbers('[', ']');
    const uint64_t offset = in.unsigned_integer();
    if (dtype == DType::undefined || offset % kAlignment != 0 || offset > bytes->size() ||
        !fits(dims, (bytes->size() - offset) / size_of(dtype)))
      in.fail("tensor '" + name + "' lies outside the file");
    // The string's own start need not be aligned, so the elements are copied out.
    table[name] = Tensor::borrow(dtype, dims, bytes->data() + offset, bytes).clone();
  }
  return table;
}

}  // namespace

void save_text(const Graph& graph, const std::string& path) {
  TensorTable tensors;
  PrintOptions options;
  options.tensors = &tensors;
  const std::string text = print(graph, options);
  AtomicFile file = create(path);
  write(file, text.data(), text.size());
  // Nothing belongs beside a device or a pipe: /dev/null stands for no output at all.
  if (!tensors.empty() && is_or_becomes_a_file(path)) {
    AtomicFile beside = create(tensor_path(path));
    write_tensors(tensors, beside);
    require(beside.commit());
  }
  require(file.commit());
}

std::unique_ptr<Graph> load_text(const std::string& path) {
  const std::string text = read_file(path);
  const bool has_tensors = std::ifstream(tensor_path(path)).good();
  try {
    return parse_graph(text, has_tensors ? load_tensors(tensor_path(path)) : TensorTable());
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.starts_with(path)) throw;
    throw Error(path + (message.starts_with("line ") ? ":" : ": ") + message);
  }
}

}  // namespace tintype
