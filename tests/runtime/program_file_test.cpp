// The .tt file: round trips, machine code, every kind of damage, saving.
#include "program_fixture.h"

#include "runtime/atomic_file.h"
#include "runtime/checksum.h"
#include "runtime/cpu_features.h"
#include "runtime/halide_hooks.h"
#include "runtime/program_file.h"
#include "runtime/shared_object.h"

#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

// Absurd sizes are part of the tests; the allocator has to answer them as it does without
// sanitizer.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer asks for this name
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer asks for this name
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }

namespace tintype::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

class ProgramFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("tt" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name = "model.tt") const { return folder_ / name; }
  fs::path folder_;
};

// y = x + c by host ops, with every kind of attribute along the way.
Program host_program() {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0), two = b.constant(2);
  const ViewId x = b.input("x", DType::f32, {n, two}), y = b.output("y", DType::f32, {n, two});
  const ViewId c = b.constant_tensor(Tensor::from<float>({2}, {10, 20}));
  const ViewId s = b.buffer(DType::f32, {n, two}, 0, 1);
  Step& add = b.host_step("add", {x, c}, {s});
  add.attributes.set("integer", int64_t{-5});
  add.attributes.set("number", 0.25);
  add.attributes.set("text", std::string("word"));
  add.attributes.set("integers", std::vector<int64_t>{1, -2});
  add.attributes.set("numbers", std::vector<double>{0.5, 1e300});
  add.attributes.set("tensor", Tensor::from<int16_t>({3}, {7, 8, 9}));
  add.origin = "/add/Add";
  add.flops = n;
  Step& reverse = b.host_step("slice", {s}, {y});
  reverse.attributes.set("steps", std::vector<int64_t>{-1, 1});
  reverse.extent_attributes = {
      {"starts", {b.op(ExtentExpr::Kind::sub, n, b.constant(1)), b.constant(0)}}};
  b.program.constraints.push_back({n, n, "always holds"});
  b.program.model_name = "host";
  return b.program;
}

std::vector<float> run_on(const Model& model, std::vector<int64_t> dims) {
  Tensor x = Tensor::empty(DType::f32, std::move(dims));
  for (int64_t i = 0; i < x.size(); ++i)
    x.mutable_values<float>()[static_cast<size_t>(i)] = static_cast<float>(i);
  Result<std::vector<Tensor>> y = model.run({{"x", x}});
  EXPECT_TRUE(y.ok()) << y.status().message();
  if (!y.ok()) return {};
  return {y.value()[0].values<float>().begin(), y.value()[0].values<float>().end()};
}

TEST_F(ProgramFileTest, RoundTripKeepsEverything) {
  const Program p = host_program();
  const Status saved = save_program(p, {}, path());
  ASSERT_TRUE(saved.ok()) << saved.message();
  Result<LoadedProgram> loaded = load_program(path());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const Program& q = *loaded.value().program;
  EXPECT_EQ(q.model_name, "host");
  EXPECT_EQ(q.symbols[0].name, "N");
  EXPECT_EQ(q.expressions.size(), p.expressions.size());
  EXPECT_EQ(q.constraints[0].message, "always holds");
  EXPECT_EQ(q.steps[0].origin, "/add/Add");
  EXPECT_EQ(q.steps[0].flops, p.steps[0].flops);
  EXPECT_EQ(q.steps[1].extent_attributes, p.steps[1].extent_attributes);
  const Attributes& a = q.steps[0].attributes;
  EXPECT_EQ(a.integer("integer", 0), -5);
  EXPECT_EQ(a.number("number", 0), 0.25);
  EXPECT_EQ(a.string("text", ""), "word");
  EXPECT_EQ(a.integers("integers"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(std::get<std::vector<double>>(*a.find("numbers")), (std::vector<double>{0.5, 1e300}));
  const Tensor& t = std::get<Tensor>(*a.find("tensor"));
  EXPECT_THAT(t.values<int16_t>(), ::testing::ElementsAre(7, 8, 9));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data()) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(q.constants[0].data()) % 64, 0u);
}

TEST_F(ProgramFileTest, KeepsWhatKernelsReadAndWrite) {
  ProgramBuilder b;
  const ExprId n = b.constant(2);
  const ViewId x = b.input("x", DType::f32, {n}), y = b.output("y", DType::f32, {n});
  Step::Alternative& a = b.kernel_step(b.kernel("k"), {x, x, y}).alternatives[0];
  a.inputs = 2;
  a.outputs = 1;
  const std::string encoded = encode_program(b.program, {});
  const auto decoded = decode_program(std::as_bytes(std::span(encoded)), {}, nullptr);
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(decoded.value()->steps[0].alternatives[0].inputs, 2);
  EXPECT_EQ(decoded.value()->steps[0].alternatives[0].outputs, 1);
}

TEST_F(ProgramFileTest, KeepsWhichInputsAreIndices) {
  ProgramBuilder b;
  const ExprId n = b.constant(2), five = b.constant(5);
  const ViewId x = b.input("x", DType::i64, {n}), y = b.output("y", DType::i64, {n});
  b.host_step("add", {x, x}, {y});
  b.program.inputs[0].indices = {{five, "an embedding"}};
  ASSERT_TRUE(save_program(b.program, {}, path()).ok());
  const Result<Model> m = Model::load(path());
  ASSERT_TRUE(m.ok()) << m.status().message();
  const auto run = [&](int64_t last) {
    return m.value().run({{"x", Tensor::from<int64_t>({2}, {-5, last})}}).status().message();
  };
  EXPECT_EQ(run(4), "");
  EXPECT_EQ(run(5), "input 'x': 5 at [1] is out of range for an axis of extent 5 (an embedding)");
  b.program.inputs[0].indices[0].extent = 77;
  EXPECT_FALSE(save_program(b.program, {}, path()).ok());
}

TEST_F(ProgramFileTest, ALoadedModelRuns) {
  ASSERT_TRUE(save_program(host_program(), {}, path()).ok());
  Result<Model> model = Model::load(path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  fs::remove(path());  // the mapping lives on
  EXPECT_THAT(run_on(model.value(), {2, 2}), ::testing::ElementsAre(12, 23, 10, 21));
}

TEST_F(ProgramFileTest, SavingTwiceGivesTheSameBytes) {
  ASSERT_TRUE(save_program(host_program(), {}, path("a")).ok());
  ASSERT_TRUE(save_program(host_program(), {}, path("b")).ok());
  EXPECT_EQ(read_file(path("a")), read_file(path("b")));
}

TEST_F(ProgramFileTest, EveryDamagedByteAndLengthIsCorrupt) {
  ASSERT_TRUE(save_program(host_program(), {}, path()).ok());
  const std::vector<std::byte> good = read_file(path());
  const auto code = [&](std::span<const std::byte> bytes) {
    write_file(path("bad.tt"), bytes);
    const Result<Model> m = Model::load(path("bad.tt"));
    return m.ok() ? StatusCode::ok : m.status().code();
  };
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<std::byte> bad = good;
    bad[i] ^= std::byte{1} << (i % 8);
    ASSERT_EQ(code(bad), StatusCode::corrupt_file) << "byte " << i;
    bad[i] = ~good[i];
    ASSERT_EQ(code(bad), StatusCode::corrupt_file) << "byte " << i;
    ASSERT_EQ(code(std::span(good).first(i)), StatusCode::corrupt_file) << "length " << i;
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(code(longer), StatusCode::corrupt_file);
  EXPECT_EQ(code(good), StatusCode::ok);
}

// A file whose checksum was made to fit: the checks behind it have to hold on their own.
TEST_F(ProgramFileTest, ForgedProgramsNeverCrash) {
  ASSERT_TRUE(save_program(host_program(), {}, path()).ok());
  std::vector<std::byte> good = read_file(path());
  uint64_t offset = 0, size = 0;
  std::memcpy(&offset, good.data() + 64, 8);
  std::memcpy(&size, good.data() + 72, 8);
  int refused = 0, accepted = 0;
  for (uint64_t i = offset; i < offset + size; ++i)
    for (int value : {0x00, 0x01, 0x7f, 0xff}) {
      std::vector<std::byte> bad = good;
      bad[i] = static_cast<std::byte>(value);
      std::memset(bad.data() + 48, 0, 16);
      const Checksum sum = checksum_of(bad);
      std::memcpy(bad.data() + 48, &sum, 16);
      write_file(path("bad.tt"), bad);
      Result<Model> m = Model::load(path("bad.tt"));
      ++(m.ok() ? accepted : refused);
      if (m.ok()) (void)m.value().run({{"x", Tensor::zeros(DType::f32, {2, 2})}});
      else EXPECT_EQ(m.status().code(), StatusCode::corrupt_file) << m.status().message();
    }
  EXPECT_GT(refused, 100);
  EXPECT_GT(accepted, 100);
}

TEST_F(ProgramFileTest, OtherVersionsAreUnsupported) {
  ASSERT_TRUE(save_program(host_program(), {}, path()).ok());
  std::vector<std::byte> bytes = read_file(path());
  bytes[8] = std::byte{2};
  std::memset(bytes.data() + 48, 0, 16);
  const Checksum sum = checksum_of(bytes);
  std::memcpy(bytes.data() + 48, &sum, 16);
  write_file(path(), bytes);
  const Status s = Model::load(path()).status();
  EXPECT_EQ(s.code(), StatusCode::unsupported);
  EXPECT_THAT(s.message(), HasSubstr("file format 2, this runtime reads 1"));
}

TEST_F(ProgramFileTest, WhatCannotBeReadIsAnIoError) {
  const auto status = [](const std::string& p) { return Model::load(p).status(); };
  EXPECT_EQ(status(path("missing.tt")).code(), StatusCode::io_error);
  EXPECT_EQ(status(path("missing.tt")).message(),
            "cannot read '" + path("missing.tt") + "': No such file or directory");
  EXPECT_EQ(status(folder_.string()).code(), StatusCode::io_error);
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(status(path("pipe")).message(),
            "cannot read '" + path("pipe") + "': not a regular file");
  write_file(path("empty"), {});
  EXPECT_EQ(status(path("empty")).code(), StatusCode::corrupt_file);
}

TEST_F(ProgramFileTest, InvalidProgramsAreNotSaved) {
  Program p = host_program();
  p.steps[0].host_op = "nonsense";
  EXPECT_EQ(save_program(p, {}, path()).code(), StatusCode::internal);
  EXPECT_FALSE(fs::exists(path()));
  EXPECT_EQ(save_program(host_program(), {}, path("no/such/folder.tt")).code(),
            StatusCode::io_error);
}

#ifdef TINTYPE_CC

class MachineCodeTest : public ProgramFileTest {
 protected:
  // Compiles fixture_kernels.c with the jumps to the hooks, as the compiler links its kernels.
  std::vector<std::byte> shared_object() {
    std::ofstream(path("hooks.s")) << hook_trampolines(kArchitecture);
    const std::string command = std::string(TINTYPE_CC) + " -shared -fPIC -O1 -Wl,-z,defs -o " +
                                path("kernels.so") + " " + TINTYPE_TEST_DIR +
                                "/fixture_kernels.c " + path("hooks.s");
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return read_file(path("kernels.so"));
  }
#ifdef __x86_64__
  static constexpr const char* kArchitecture = "x86_64";
#else
  static constexpr const char* kArchitecture = "aarch64";
#endif
};

ProgramBuilder scale_program(int rank = 2) {
  ProgramBuilder b;
  const ExprId n = b.symbol("N", 0, 0);
  const std::vector<ExprId> dims(static_cast<size_t>(rank), n);
  const ViewId x = b.input("x", DType::f32, dims), y = b.output("y", DType::f32, dims);
  b.kernel_step(b.kernel("scale"), {x, y});
  return b;
}

size_t open_descriptors() {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) count += entry.exists() ? 1 : 0;
  return count;
}

TEST_F(MachineCodeTest, KernelsRunThroughTheHooks) {
  const std::vector<std::byte> code = shared_object();
  ASSERT_TRUE(save_program(scale_program().program, code, path()).ok());
  Result<Model> model = Model::load(path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_THAT(run_on(model.value(), {2, 2}), ::testing::ElementsAre(1, 3, 5, 7));
}

TEST_F(MachineCodeTest, KernelErrorsArrive) {
  const std::vector<std::byte> code = shared_object();
  ASSERT_TRUE(save_program(scale_program(1).program, code, path()).ok());
  Model model = Model::load(path()).value();
  const Status s = model.run({{"x", Tensor::zeros(DType::f32, {3})}}).status();
  EXPECT_THAT(s.message(), HasSubstr("failed: in has 1 dimensions, expected 2 (code -43)"));
}

TEST_F(MachineCodeTest, ModelsLoadAndUnloadIndependently) {
  const std::vector<std::byte> code = shared_object();
  ASSERT_TRUE(save_program(scale_program().program, code, path()).ok());
  {
    ASSERT_TRUE(Model::load(path()).ok());
  }
  const size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Model a = Model::load(path()).value();
    Model b = Model::load(path()).value();
    {
      const Model dropped = std::move(a);
    }
    ASSERT_EQ(run_on(b, {1, 1}), std::vector<float>{1});
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(MachineCodeTest, ManyThreadsLoadAtOnce) {
  const std::vector<std::byte> code = shared_object();
  ASSERT_TRUE(save_program(scale_program().program, code, path()).ok());
  std::vector<std::thread> threads;
  threads.reserve(8);
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        Result<Model> m = Model::load(path());
        const Tensor x = Tensor::zeros(DType::f32, {3, 3});
        if (!m.ok() || !m.value().run({{"x", x}}).ok()) ++wrong;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(MachineCodeTest, MissingKernelsAndForeignObjects) {
  const std::vector<std::byte> code = shared_object();
  Program p = scale_program().program;
  p.kernels[0].symbol = "gone";
  ASSERT_TRUE(save_program(p, code, path()).ok());
  EXPECT_EQ(Model::load(path()).status().message(), "the machine code has no kernel 'gone'");
  const std::vector<std::byte> nonsense(100, std::byte{7});
  ASSERT_TRUE(save_program(scale_program().program, nonsense, path()).ok());
  EXPECT_THAT(Model::load(path()).status().message(), HasSubstr("cannot load machine code"));
}

TEST_F(MachineCodeTest, OtherTargetsAreRefusedBeforeLoading) {
  const std::vector<std::byte> code = shared_object();
  Program p = scale_program().program;
  p.target = "hexagon-32-noos";
  ASSERT_TRUE(save_program(p, code, path()).ok());
  const Status s = Model::load(path()).status();
  EXPECT_EQ(s.code(), StatusCode::unsupported);
  EXPECT_THAT(s.message(), HasSubstr("compiled for hexagon-32-noos, but this machine is"));
}

#endif

TEST(CpuFeatures, UnderstandsTargetStrings) {
  EXPECT_TRUE(check_cpu("").ok());
  EXPECT_TRUE(check_cpu("host").ok());
#ifdef __x86_64__
  EXPECT_TRUE(check_cpu("x86-64-linux-no_runtime-user_context-sse41").ok());
  EXPECT_EQ(check_cpu("x86-64-linux-fma4").ok(), __builtin_cpu_supports("fma4") != 0);
#endif
}

class AtomicFileTest : public ProgramFileTest {
 protected:
  std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
};

TEST_F(AtomicFileTest, AppearsOnCommitOnly) {
  write_file(path(), bytes("old"));
  {
    Result<AtomicFile> file = AtomicFile::create(path());
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file.value().write(bytes("new content")).ok());
    EXPECT_EQ(fs::file_size(path()), 3u);
  }
  EXPECT_EQ(fs::file_size(path()), 3u);  // dropped without commit
  EXPECT_EQ(entries(), 1u);
  Result<AtomicFile> file = AtomicFile::create(path());
  ASSERT_TRUE(file.value().write(bytes("nnn content")).ok());
  ASSERT_TRUE(file.value().write_at(1, bytes("ew")).ok());
  ASSERT_TRUE(file.value().commit().ok());
  EXPECT_EQ(read_file(path()),
            std::vector<std::byte>(bytes("new content").begin(), bytes("new content").end()));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFileTest, ConcurrentWritersLeaveOneWholeFile) {
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const std::string text(10000, static_cast<char>('a' + t));
      for (int i = 0; i < 10; ++i) {
        Result<AtomicFile> file = AtomicFile::create(path());
        ASSERT_TRUE(file.ok());
        ASSERT_TRUE(file.value().write(std::as_bytes(std::span(text))).ok());
        ASSERT_TRUE(file.value().commit().ok());
      }
    });
  for (std::thread& t : threads) t.join();
  const std::vector<std::byte> content = read_file(path());
  ASSERT_EQ(content.size(), 10000u);
  EXPECT_EQ(content, std::vector<std::byte>(10000, content[0]));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFileTest, OldLeftoversOfDeadWritersAreRemoved) {
  const std::string dead = path(".model.tt.tmp-999999999-1"),
                    fresh = path(".model.tt.tmp-999999998-1");
  const std::string alive = path(".model.tt.tmp-" + std::to_string(getpid()) + "-77");
  for (const std::string& p : {dead, fresh, alive}) write_file(p, {});
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(2);
  fs::last_write_time(dead, long_ago);
  fs::last_write_time(alive, long_ago);
  ASSERT_TRUE(AtomicFile::create(path()).ok());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_TRUE(fs::exists(alive));
}

TEST_F(AtomicFileTest, LinksStayAndWhatTheyNameIsReplaced) {
  write_file(path("real"), bytes("old"));
  fs::create_symlink("real", path("link"));
  fs::create_symlink("link", path("link to link"));
  Result<AtomicFile> file = AtomicFile::create(path("link to link"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file.value().write(bytes("new")).ok());
  ASSERT_TRUE(file.value().commit().ok());
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_TRUE(fs::is_symlink(path("link to link")));
  EXPECT_EQ(read_file(path("real")).size(), 3u);
  EXPECT_EQ(read_file(path("real"))[0], std::byte{'n'});
  EXPECT_EQ(entries(), 3u);
}

TEST_F(AtomicFileTest, AFolderIsRefusedAtOnce) {
  const Result<AtomicFile> file = AtomicFile::create(folder_);
  EXPECT_EQ(file.status().message(), "cannot write '" + folder_.string() + "': Is a directory");
}

// A rename would put a file in the place of the device.
TEST_F(AtomicFileTest, DevicesStayDevices) {
  fs::create_symlink("/dev/null", path("null"));
  Result<AtomicFile> file = AtomicFile::create(path("null"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file.value().write(bytes("abc")).ok());
  EXPECT_TRUE(file.value().write_at(1, bytes("x")).ok());
  EXPECT_TRUE(file.value().commit().ok());
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_TRUE(fs::is_symlink(path("null")));
  Result<AtomicFile> full = AtomicFile::create("/dev/full");
  ASSERT_TRUE(full.ok()) << full.status().message();
  EXPECT_EQ(full.value().write(bytes("abc")).message(),
            "cannot write '/dev/full': No space left on device");
}

TEST_F(AtomicFileTest, PipesTakeWhatIsWrittenInOrder) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string name = "/dev/fd/" + std::to_string(ends[1]);
  Result<AtomicFile> file = AtomicFile::create(name);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file.value().write(bytes("ab")).ok());
  EXPECT_TRUE(file.value().write(bytes("c")).ok());
  EXPECT_FALSE(file.value().write_at(0, bytes("x")).ok());
  EXPECT_TRUE(file.value().commit().ok());
  char got[4] = {};
  EXPECT_EQ(read(ends[0], got, sizeof got), 3);
  EXPECT_STREQ(got, "abc");
  close(ends[0]);
  close(ends[1]);
}

TEST_F(AtomicFileTest, AWriteThatFailsIsReported) {
  Result<AtomicFile> file = AtomicFile::create(path());
  ASSERT_TRUE(file.ok());
  // Beyond the largest file that the system can have.
  const Status s = file.value().write_at(uint64_t{1} << 62, bytes("x"));
  EXPECT_EQ(s.code(), StatusCode::io_error);
  EXPECT_EQ(s.message(), "cannot write '" + path() + "': File too large");
}

TEST(ChecksumTest, MatchesPublishedValuesAndPieces) {
  // XXH3_128bits of nothing, from the xxHash specification.
  EXPECT_EQ(checksum_of({}).low, 0x6001c324468d497fu);
  EXPECT_EQ(checksum_of({}).high, 0x99aa06d3014798d8u);
  std::vector<std::byte> bytes(100000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31);
  ChecksumStream stream;
  stream.add(std::span(bytes).first(1));
  stream.add(std::span(bytes).subspan(1, 70000));
  stream.add(std::span(bytes).subspan(70001));
  EXPECT_EQ(stream.result(), checksum_of(bytes));
}

}  // namespace
}  // namespace tintype::testing
