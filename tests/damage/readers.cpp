// What the tables of readers share.
#include "tests/damage/readers.h"

#include "ir/diagnostic.h"
#include "ir/verify.h"
#include "tools/driver/driver.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <string_view>

namespace tintype::test {

std::vector<Reader> all_readers() {
  std::vector<Reader> all = data_readers();
  for (const auto& more : {model_readers(), text_readers()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

void optimize_to_regions(Graph& graph) {
  CompileOptions options;
  options.tuning = "";
  optimize(graph, options);
  verify(graph);
}

Outcome read_with(const Reader& reader, const std::string& path) {
  Outcome outcome;
  try {
    reader.read(path, outcome);
  } catch (const Error& e) {
    // The importer says so of memory, too.
    const bool memory = std::string_view(e.what()).ends_with("not enough memory");
    outcome = {memory ? StatusCode::out_of_memory : StatusCode::invalid_argument, e.what()};
  } catch (const std::bad_alloc&) {
    outcome = {StatusCode::out_of_memory, "std::bad_alloc"};
  } catch (const std::exception& e) {
    outcome = {StatusCode::internal, e.what()};
  }
  return outcome;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) std::abort();
  return {std::istreambuf_iterator<char>(file), {}};
}

void touch(const void* data, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(data);
  unsigned char sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum = static_cast<unsigned char>(sum + p[i]);
  [[maybe_unused]] const volatile unsigned char used = sum;
}

bool accept(const Status& status, Outcome& outcome) {
  if (!status.ok()) outcome = {status.code(), status.message()};
  return status.ok();
}

}  // namespace tintype::test
