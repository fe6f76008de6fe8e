// Layout, checksum, saving and loading of .tt files.
#include "runtime/program_file.h"

#include "runtime/atomic_file.h"
#include "runtime/checksum.h"
#include "runtime/cpu_features.h"
#include "runtime/guarded.h"
#include "runtime/mapped_file.h"
#include "runtime/memory.h"
#include "runtime/model.h"
#include "runtime/shared_object.h"
#include "runtime/validate.h"

#include <bit>
#include <cstring>
#include <type_traits>

namespace tintype {

namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr size_t kAlignment = 64;
enum Section : size_t { kProgramSection, kCodeSection, kConstantSection, kSections };

struct Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t section_count;
  uint64_t file_size;
  uint64_t reserved[3];
  Checksum checksum;  ///< of the file with these 16 bytes taken as zero
};
static_assert(sizeof(Header) == 64 && std::is_trivially_copyable_v<Header>);

struct SectionEntry {
  uint64_t offset, size;
};

std::span<const std::byte> bytes_of(const auto& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::span<const std::byte> bytes_of(const Tensor& t) {
  return {static_cast<const std::byte*>(t.data()), t.bytes()};
}

/// Constants in the order in which the encoder numbers them: those of the program, then those in
/// attributes of steps, then initial values of states.
std::vector<const Tensor*> tensors_of(const Program& program) {
  std::vector<const Tensor*> list;
  list.reserve(program.constants.size());
  for (const Tensor& t : program.constants) list.push_back(&t);
  for (const Step& step : program.steps)
    for (const auto& [name, value] : step.attributes.entries())
      if (const auto* t = std::get_if<Tensor>(&value)) list.push_back(t);
  for (const StateVariable& s : program.states) list.push_back(&s.initial);
  return list;
}

/// A file under construction: every piece goes to the disk and into the checksum.
class Writer {
 public:
  explicit Writer(AtomicFile& file) : file_(file) {}

  void write(std::span<const std::byte> bytes) {
    if (!status_.ok()) return;
    checksum_.add(bytes);
    status_ = file_.write(bytes);
    size_ += bytes.size();
  }
  void pad() {
    static const std::byte zeros[kAlignment] = {};
    write(std::span(zeros).first(round_up(size_, kAlignment) - size_));
  }
  const Status& status() const { return status_; }
  uint64_t size() const { return size_; }
  Checksum checksum() const { return checksum_.result(); }

 private:
  AtomicFile& file_;
  ChecksumStream checksum_;
  Status status_;
  uint64_t size_ = 0;
};

Status write_file(AtomicFile& file, std::string_view program,
                  std::span<const std::byte> machine_code, std::span<const Tensor* const> tensors,
                  uint64_t constant_bytes) {
  SectionEntry sections[kSections] = {};
  uint64_t end = sizeof(Header) + sizeof sections;
  const uint64_t sizes[kSections] = {program.size(), machine_code.size(), constant_bytes};
  for (size_t i = 0; i < kSections; ++i) {
    sections[i] = {round_up(end, kAlignment), sizes[i]};
    end = sections[i].offset + sizes[i];
  }
  Header header{kProgramMagic, kProgramVersion, kSections, end, {}, {}};
  Writer writer(file);
  writer.write(bytes_of(header));
  writer.write(bytes_of(sections));
  writer.pad();
  writer.write(std::as_bytes(std::span(program)));
  writer.pad();
  writer.write(machine_code);
  writer.pad();
  for (const Tensor* t : tensors) {
    writer.pad();
    writer.write(bytes_of(*t));
  }
  if (!writer.status().ok()) return writer.status();
  if (writer.size() != end) return {StatusCode::internal, "program file has an unexpected size"};
  header.checksum = writer.checksum();
  if (Status s = file.write_at(0, bytes_of(header)); !s.ok()) return s;
  return file.commit();
}

/// A checked file, cut into its sections.
struct Sections {
  std::span<const std::byte> parts[kSections];
};

Result<Sections> cut(std::span<const std::byte> file) {
  const auto corrupt = [](const char* why) { return Status(StatusCode::corrupt_file, why); };
  Header header;
  if (file.size() < sizeof header) return corrupt("too short for a Tintype program");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.magic != kProgramMagic) return corrupt("not a Tintype program");
  if (header.file_size != file.size()) return corrupt("the size differs from the recorded one");
  const Checksum recorded = std::exchange(header.checksum, {});
  ChecksumStream stream;
  stream.add(bytes_of(header));
  stream.add(file.subspan(sizeof header));
  if (stream.result() != recorded)
    return corrupt("the checksum does not match: the file is damaged");
  if (header.version != kProgramVersion)
    return Status(StatusCode::unsupported,
                  "file format " + std::to_string(header.version) + ", this runtime reads " +
                      std::to_string(kProgramVersion) + ": compile the model again");
  SectionEntry entries[kSections];
  if (header.section_count != kSections || file.size() < sizeof header + sizeof entries)
    return corrupt("the table of sections is damaged");
  std::memcpy(entries, file.data() + sizeof header, sizeof entries);
  Sections sections;
  for (size_t i = 0; i < kSections; ++i) {
    const SectionEntry& e = entries[i];
    if (e.size > file.size() || e.offset > file.size() - e.size || e.offset % kAlignment != 0)
      return corrupt("a section lies outside the file");
    sections.parts[i] = file.subspan(e.offset, e.size);
  }
  return sections;
}

Result<LoadedProgram> load_sections(const Sections& sections,
                                    const std::shared_ptr<const MappedFile>& file) {
  Result<std::shared_ptr<Program>> program =
      decode_program(sections.parts[kProgramSection], sections.parts[kConstantSection], file);
  if (!program.ok()) return program.status();
  if (Status s = validate(*program.value()); !s.ok())
    return Status(StatusCode::corrupt_file, s.message());
  LoadedProgram loaded;
  loaded.program = program.value();
  const std::span<const std::byte> code = sections.parts[kCodeSection];
  if (code.empty()) {
    if (!loaded.program->kernels.empty())
      return Status(StatusCode::corrupt_file, "the program has kernels, but no machine code");
    return loaded;
  }
  if (Status s = check_cpu(loaded.program->target); !s.ok()) return s;
  Result<std::shared_ptr<const KernelLibrary>> kernels = load_shared_object(code);
  if (!kernels.ok()) return kernels.status();
  loaded.kernels = std::move(kernels).value();
  return loaded;
}

}  // namespace

Status save_program(const Program& program, std::span<const std::byte> machine_code,
                    const std::string& path) {
  return guarded([&]() -> Status {
    if (Status s = validate(program); !s.ok()) return s;
    const std::vector<const Tensor*> tensors = tensors_of(program);
    std::vector<uint64_t> offsets;
    uint64_t end = 0;
    for (const Tensor* t : tensors) {
      offsets.push_back(round_up(end, kAlignment));
      end = offsets.back() + t->bytes();
    }
    const std::string encoded = encode_program(program, offsets);
    Result<AtomicFile> file = AtomicFile::create(path);
    if (!file.ok()) return file.status();
    return write_file(file.value(), encoded, machine_code, tensors, end);
  });
}

Result<LoadedProgram> load_program(const std::string& path) {
  return guarded([&]() -> Result<LoadedProgram> {
    Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
    if (!file.ok()) return file.status();
    const auto located = [&](const Status& s) {
      return Status(s.code(), path + ": " + s.message());
    };
    const Result<Sections> sections = cut(file.value()->bytes());
    if (!sections.ok()) return located(sections.status());
    Result<LoadedProgram> loaded = load_sections(sections.value(), file.value());
    return loaded.ok() ? std::move(loaded) : Result<LoadedProgram>(located(loaded.status()));
  });
}

Result<Model> Model::load(const std::string& path) {
  Result<LoadedProgram> loaded = load_program(path);
  if (!loaded.ok()) return loaded.status();
  return create(std::move(loaded.value().program), std::move(loaded.value().kernels));
}

}  // namespace tintype
