// Every kind of file: what NumPy, Pillow and others wrote, and what is wrong with damaged ones.
#include "folder.h"
#include "frontend/data/bytes.h"
#include "frontend/data/image.h"
#include "frontend/data/npy.h"
#include "frontend/data/open_dataset.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace tintype {
namespace {

using test::Folder;
using test::read_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::string_literals;

std::string fixture(const std::string& name) {
  return std::string(TINTYPE_TEST_DIR) + "/fixtures/" + name;
}

/// One sample: the input's bytes and the label (-1: none).
struct Sample {
  std::string input;
  int64_t label = -1;
};

Sample sample(const Dataset& data, int64_t index) {
  Sample s;
  const Field& input = data.fields()[0];
  s.input.resize(static_cast<size_t>(element_count(input.dims)) * size_of(input.dtype));
  std::byte* places[] = {reinterpret_cast<std::byte*>(s.input.data()),
                         reinterpret_cast<std::byte*>(&s.label)};
  const Status status = data.read(index, std::span(places).first(data.fields().size()));
  EXPECT_TRUE(status.ok()) << status.message();
  return s;
}

std::vector<float> floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

DataSource open(const std::string& path, const OpenOptions& options = {}) {
  const auto source = open_dataset(path, options);
  EXPECT_TRUE(source.ok()) << source.status().message();
  return source.ok() ? source.value() : DataSource{};
}

/// What gzip makes of a text.
std::string gzipped(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// The message of a file that cannot be opened: one line that begins with a path.
std::string problem(const std::string& path, const OpenOptions& options = {}) {
  const auto source = open_dataset(path, options);
  EXPECT_FALSE(source.ok()) << path;
  const std::string message = source.status().message();
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

std::string idx(std::vector<uint32_t> dims, const std::string& data, char type = 8) {
  std::string bytes = {0, 0, type, static_cast<char>(dims.size())};
  for (const uint32_t d : dims)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(d >> shift);
  return bytes + data;
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const auto f32 = load_npy(fixture("f32.npy"));
  ASSERT_TRUE(f32.ok()) << f32.status().message();
  EXPECT_EQ(f32.value().type_string(), "f32[2,3]");
  EXPECT_THAT(f32.value().values<float>(), ElementsAre(0, 1, 2, 3, 4, 5));
  const auto fortran = load_npy(fixture("fortran_i64.npy"));
  ASSERT_TRUE(fortran.ok()) << fortran.status().message();
  EXPECT_EQ(fortran.value().type_string(), "i64[2,3,4]");
  for (int64_t i = 0; i < 24; ++i)
    EXPECT_EQ(fortran.value().values<int64_t>()[static_cast<size_t>(i)], i);
  EXPECT_EQ(load_npy(fixture("scalar_f64.npy")).value().values<double>()[0], 2.5);
  EXPECT_THAT(load_npy(fixture("big_endian.npy")).status().message(), HasSubstr("'>f4'"));
}

TEST(Npy, RoundTripsAndRefusesEveryTruncation) {
  const Folder folder;
  const std::string path = folder.path("a.npy");
  const Tensor t = Tensor::from<int16_t>({2, 1, 2}, {1, -2, 3, 4});
  ASSERT_TRUE(save_npy(t, path).ok());
  const auto back = load_npy(path);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value().type_string(), t.type_string());
  EXPECT_THAT(back.value().values<int16_t>(), ElementsAre(1, -2, 3, 4));
  EXPECT_EQ(save_npy(Tensor::zeros(DType::bf16, {1}), path).code(), StatusCode::unsupported);
  const std::string bytes = read_file(path);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(load_npy(folder.write("cut.npy", bytes.substr(0, size))).ok()) << size;
  EXPECT_FALSE(load_npy(folder.write("long.npy", bytes + "x")).ok());
}

TEST(Npz, StoredAndDeflatedAgree) {
  for (const char* name : {"stored.npz", "deflated.npz"}) {
    const DataSource source = open(fixture(name));
    EXPECT_EQ(source.kind, "npz");
    EXPECT_EQ(source.training->fields()[0].dims,
              (std::vector<int64_t>{3, 4, 4}));  // channels first
    EXPECT_EQ(source.training->labels(), (std::vector<int64_t>{1, 0, 2}));
    EXPECT_EQ(source.test->size(), 2);
    EXPECT_EQ(source.training->classes(), 3);
  }
  const Tensor images = load_npz(fixture("stored.npz")).value().at("x_train");
  const std::string planes = sample(*open(fixture("deflated.npz")).training, 1).input;
  for (size_t pixel = 0; pixel < 16; ++pixel)
    for (size_t c = 0; c < 3; ++c)
      EXPECT_EQ(static_cast<uint8_t>(planes[c * 16 + pixel]),
                images.values<uint8_t>()[48 + pixel * 3 + c]);
}

TEST(Npz, EveryTruncationIsRefusedAndNoFlippedByteCrashes) {
  const Folder folder;
  const std::string bytes = read_file(fixture("deflated.npz"));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(load_npz(folder.write("cut.npz", bytes.substr(0, size))).ok()) << size;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(~flipped[i]);
    (void)load_npz(folder.write("flipped.npz", flipped)).ok();
  }
}

/// An archive with `members` entries in its directory, all of which say that they are the one
/// stored array.
std::string npz_of_copies(int members, const std::string& stored) {
  const auto number = [](uint64_t value, size_t bytes) {
    return std::string(reinterpret_cast<const char*>(&value), bytes);
  };
  const uint64_t crc = crc32_of(std::as_bytes(std::span(stored)));
  const std::string sizes = number(crc, 4) + number(stored.size(), 4) + number(stored.size(), 4);
  const std::string file =
      "PK\3\4" + std::string(10, '\0') + sizes + number(0, 4) + stored;  // an empty name
  std::string directory;
  for (int i = 0; i < members; ++i) {
    const std::string name = std::to_string(i) + ".npy";
    directory += "PK\1\2" + std::string(12, '\0') + sizes + number(name.size(), 2) +
                 std::string(16, '\0') + name;
  }
  return file + directory + "PK\5\6" + std::string(6, '\0') + number(members, 2) +
         number(directory.size(), 4) + number(file.size(), 4) + number(0, 2);
}

TEST(Npz, MembersThatShareTheirBytesAreNoWayToFillTheMemory) {
  const Folder folder;
  const std::string array = read_file(fixture("f32.npy"));
  const auto few = load_npz(folder.write("few.npz", npz_of_copies(3, array)));
  ASSERT_TRUE(few.ok()) << few.status().message();
  EXPECT_EQ(few.value().size(), 3u);
  ASSERT_TRUE(save_npy(Tensor::zeros(DType::u8, {4 << 20}), folder.path("large.npy")).ok());
  const std::string large = read_file(folder.path("large.npy"));
  EXPECT_THAT(load_npz(folder.write("many.npz", npz_of_copies(9000, large))).status().message(),
              HasSubstr("lies where other members of the archive do"));
}

TEST(Gzip, AFileThatGrowsAThousandfoldIsRefused) {
  const Folder folder;
  // One stream of 32 MiB of zeros, as gzip packs it, four times in a row.
  const std::string zeros(32 << 20, '\0');
  std::string packed;
  for (int i = 0; i < 4; ++i) packed += gzipped(zeros);
  EXPECT_THAT(load_idx(folder.write("bomb.gz", packed)).status().message(),
              HasSubstr("unpacks to more than 200 times its size"));
  EXPECT_THAT(load_idx(folder.write("fine.gz", gzipped(zeros))).status().message(),
              HasSubstr("is not an IDX file"));
}

TEST(Idx, TypesAndByteOrder) {
  const auto i16 = load_idx(fixture("i16.idx"));
  ASSERT_TRUE(i16.ok()) << i16.status().message();
  EXPECT_THAT(i16.value().values<int16_t>(), ElementsAre(-2, 300, 4, 5));
  const auto f64 = load_idx(fixture("f64.idx.gz"));
  ASSERT_TRUE(f64.ok()) << f64.status().message();
  EXPECT_THAT(f64.value().values<double>(), ElementsAre(0.5, -1e300));
}

TEST(Idx, DigitsAreThoseOfScikitLearn) {
  const DataSource source = open(TINTYPE_SOURCE_DIR "/examples/data/digits");
  EXPECT_EQ(source.kind, "IDX");
  EXPECT_EQ(source.training->size(), 1797);
  EXPECT_EQ(source.training->fields()[0].dims, (std::vector<int64_t>{1, 8, 8}));
  // The counts that UCI's description gives for optdigits.tes, and the first image as printed in
  // scikit-learn's documentation.
  std::vector<int64_t> counts(10);
  for (const int64_t label : source.training->labels()) ++counts[static_cast<size_t>(label)];
  EXPECT_THAT(counts, ElementsAre(178, 182, 177, 183, 181, 182, 181, 179, 174, 180));
  const Sample first = sample(*source.training, 0);
  EXPECT_EQ(first.label, 0);
  EXPECT_EQ(first.input.substr(0, 16), "\0\0\5\15\11\1\0\0\0\0\15\17\12\17\5\0"s);
}

TEST(Idx, FindsLabelsAndParts) {
  const Folder folder;
  folder.write("train-images-idx3-ubyte", idx({2, 1, 2}, "abcd"));
  folder.write("train-labels-idx1-ubyte", idx({2}, "\1\0"s));
  folder.write("t10k-images-idx3-ubyte", idx({1, 1, 2}, "xy"));
  folder.write("t10k-labels-idx1-ubyte", idx({1}, "\1"));
  const DataSource source = open(folder.path());
  EXPECT_EQ(source.training->size(), 2);
  EXPECT_EQ(source.test->size(), 1);
  EXPECT_EQ(sample(*source.training, 0).input, "ab");
  EXPECT_EQ(sample(*source.training, 0).label, 1);
  EXPECT_EQ(open(folder.path("t10k-images-idx3-ubyte")).training->labels().size(), 1u);
  OpenOptions flat;
  flat.shape = {2};
  EXPECT_EQ(open(folder.path("t10k-images-idx3-ubyte"), flat).training->fields()[0].dims,
            (std::vector<int64_t>{2}));
}

TEST(Idx, DamageIsNamed) {
  const Folder folder;
  const std::string images = idx({2, 1, 2}, "abcd");
  for (size_t size = 0; size < images.size(); ++size)
    EXPECT_FALSE(load_idx(folder.write("i", images.substr(0, size))).ok()) << size;
  const auto message = [&](const std::string& bytes) {
    return load_idx(folder.write("i", bytes)).status().message();
  };
  EXPECT_THAT(message(images + "x"),
              HasSubstr("holds 5 bytes of data, its header u8[2,1,2] asks for fewer"));
  EXPECT_THAT(message(idx({0xffffffff, 0xffffffff, 0xffffffff}, "x")), HasSubstr("more"));
  EXPECT_THAT(message(idx({1}, "x", 0x0a)), HasSubstr("is not an IDX file"));
  EXPECT_EQ(load_idx(folder.write("i", idx({0, 3}, ""))).value().size(), 0);
  const std::string packed = read_file(fixture("f64.idx.gz"));
  for (size_t size = 2; size < packed.size(); ++size)
    EXPECT_THAT(message(packed.substr(0, size)), HasSubstr("gzip")) << size;
  EXPECT_THAT(message(packed + "rest"), HasSubstr("not gzip"));
  EXPECT_EQ(load_idx(folder.write("i", packed)).value().size(), 2);
}

TEST(Idx, FoldersThatDoNotFitAreNamed) {
  const Folder folder;
  folder.write("a-images-idx3-ubyte", idx({2, 1, 2}, "abcd"));
  EXPECT_THAT(problem(folder.path()), HasSubstr("labels are missing"));
  folder.write("a-labels-idx1-ubyte", idx({3}, "\1\0\0"s));
  EXPECT_THAT(problem(folder.path()), HasSubstr("has 3 samples, 'input' has 2"));
  folder.write("b-images-idx3-ubyte", idx({2, 1, 2}, "abcd"));
  EXPECT_THAT(problem(folder.path()), HasSubstr("several sets"));
}

std::string cifar(int records, char label = 3) {
  std::string bytes;
  for (int i = 0; i < records; ++i)
    bytes += label + std::string(1024, static_cast<char>(i)) + std::string(1024, 'g') +
             std::string(1024, 'b');
  return bytes;
}

TEST(Cifar, FilesAndFolders) {
  const Folder folder;
  const std::string single = folder.write("one.bin", cifar(2));
  EXPECT_EQ(open(single).kind, "CIFAR-10");
  folder.write("set/data_batch_1.bin", cifar(2));
  folder.write("set/data_batch_2.bin", cifar(1, 9));
  folder.write("set/test_batch.bin", cifar(1));
  folder.write("set/batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  const DataSource source = open(folder.path("set"));
  EXPECT_EQ(source.training->labels(), (std::vector<int64_t>{3, 3, 9}));
  EXPECT_EQ(source.training->class_names()[9], "j");
  EXPECT_EQ(source.test->size(), 1);
  EXPECT_EQ(sample(*source.training, 1).input, cifar(2).substr(3074));
  folder.write("set/data_batch_2.bin", cifar(1) + "x");
  EXPECT_THAT(problem(folder.path("set")), HasSubstr("data_batch_2.bin: has 3074 bytes"));
  folder.write("set/data_batch_2.bin", cifar(1, 10));
  EXPECT_THAT(problem(folder.path("set")), HasSubstr("label 10 of image 0"));
  folder.write("set/data_batch_2.bin", "");
  EXPECT_THAT(problem(folder.path("set")), HasSubstr("has 0 bytes"));
}

TEST(Csv, HeadersQuotesAndNamedClasses) {
  const Folder folder;
  const std::string iris = folder.write("iris.csv", "\xef\xbb\xbf\"sepal, cm\",petal,kind\r\n"
                                                    "5.1,+1.4,\"Iris \"\"setosa\"\"\"\r\n"
                                                    "\r\n"
                                                    " 4.9 ,-1e-1,versicolor\r\n"
                                                    "3,2,\"Iris \"\"setosa\"\"\"");
  const DataSource source = open(iris);
  EXPECT_EQ(source.kind, "CSV");
  EXPECT_THAT(source.training->class_names(), ElementsAre("Iris \"setosa\"", "versicolor"));
  EXPECT_EQ(source.training->labels(), (std::vector<int64_t>{0, 1, 0}));
  EXPECT_THAT(floats(sample(*source.training, 1).input), ElementsAre(4.9f, -0.1f));
  OpenOptions named;
  named.label = "petal";
  named.class_names = {"a"};
  EXPECT_THAT(problem(iris, named), HasSubstr("line 2, column 'kind'"));
  named.label = "pettal";
  EXPECT_THAT(problem(iris, named), HasSubstr("did you mean 'petal'"));
}

TEST(Csv, ColumnsByNumberAndKindsOfTargets) {
  const Folder folder;
  const auto of = [&](const std::string& text, const std::string& label,
                      const std::string& task = "auto") {
    OpenOptions o;
    o.label = label;
    o.task = task;
    return open(folder.write("d.csv", text), o).training;
  };
  EXPECT_EQ(of("7;1;2\n0;3;4\n", "0")->labels(), (std::vector<int64_t>{7, 0}));
  EXPECT_EQ(of("7\t1\n0\t3\n", "-2")->classes(), 8);
  EXPECT_THAT(of("1,-1\n2,1\n3,10\n", "1")->class_names(), ElementsAre("-1", "1", "10"));
  const DatasetPtr values = of("1,0.5\n2,3\n", "-1");
  EXPECT_EQ(values->fields()[1].dims, (std::vector<int64_t>{1}));
  EXPECT_EQ(values->classes(), 0);
  EXPECT_EQ(of("1,2\n2,3\n", "-1", "values")->fields()[1].dtype, DType::f32);
  EXPECT_EQ(of("1,2\n2,3\n", "none")->fields().size(), 1u);
  OpenOptions names;
  names.class_names = {"no", "yes", "maybe"};
  const auto test = open(folder.write("t.csv", "1,yes\n"), names).training;
  EXPECT_EQ(test->labels(), (std::vector<int64_t>{1}));
  EXPECT_EQ(test->classes(), 3);
}

TEST(Csv, MistakesNameTheLine) {
  const Folder folder;
  const auto message = [&](const std::string& text, const OpenOptions& o = {}) {
    return problem(folder.write("d.csv", text), o);
  };
  EXPECT_THAT(message("a,b\n1,2\n1,2,3\n"),
              HasSubstr("line 3: expected 2 cells as in line 1, found 3"));
  EXPECT_THAT(message("1,2\nx,2\n"), HasSubstr("line 2, column '0': expected a number, found 'x'"));
  EXPECT_THAT(message("1,2\n,2\n"), HasSubstr("found ''"));
  EXPECT_THAT(message("1,2\nnan,2\n"), HasSubstr("found 'nan'"));
  EXPECT_THAT(message("1,2\n1e39,2\n"), HasSubstr("found '1e39'"));
  EXPECT_THAT(message("\"1,2\n"), HasSubstr("line 1: a quote opens and never closes"));
  EXPECT_THAT(message("\"1\"x,2\n"), HasSubstr("after the closing quote"));
  EXPECT_THAT(message("1\n2\n"), HasSubstr("no columns but the target"));
  EXPECT_THAT(message("\n\n"), HasSubstr("holds no rows"));
  OpenOptions o;
  o.header = "yes";
  EXPECT_THAT(message("a,b\n", o), HasSubstr("no rows but the header"));
  o = {};
  o.label = "5";
  EXPECT_THAT(message("1,2\n", o), HasSubstr("no column 5; the file has 2"));
  o.label = "age";
  EXPECT_THAT(message("1,2\n", o), HasSubstr("no header"));
  o = {};
  o.task = "values";
  EXPECT_THAT(message("1,x\n", o), HasSubstr("sample 0: expected a number as target"));
  o = {};
  o.class_names = {"a", "b"};
  EXPECT_THAT(message("1,c\n", o), HasSubstr("'c' is none of the 2 classes"));
}

TEST(Images, WhatPillowWrote) {
  const Image colour = load_image_file(fixture("colour.png")).value();
  EXPECT_EQ(colour.width, 2);
  EXPECT_EQ(colour.height, 3);
  EXPECT_EQ(colour.channels, 3);
  EXPECT_THAT(std::vector<uint8_t>(colour.pixels.begin(), colour.pixels.begin() + 3),
              ElementsAre(255, 0, 0));
  EXPECT_THAT(std::vector<uint8_t>(colour.pixels.end() - 3, colour.pixels.end()),
              ElementsAre(10, 20, 30));
  EXPECT_THAT(load_image_file(fixture("grey.png")).value().pixels, ElementsAre(0, 128, 200, 255));
  const Image flat = load_image_file(fixture("flat.jpg")).value();
  for (size_t i = 0; i < flat.pixels.size(); ++i)
    EXPECT_NEAR(flat.pixels[i], (std::array{200, 100, 50})[i % 3], 3);
}

TEST(Images, PngRoundTripsAndResizingKeepsWhatIsFlat) {
  const Folder folder;
  const Image image = {3, 2, 1, {1, 2, 3, 4, 5, 6}};
  ASSERT_TRUE(save_png(image, folder.path("a.png")).ok());
  EXPECT_EQ(load_image_file(folder.path("a.png")).value().pixels, image.pixels);
  EXPECT_THAT(center_crop(image, 1, 2).pixels, ElementsAre(2, 5));
  const Image flat = {8, 4, 3, std::vector<uint8_t>(96, 77)};
  const Image covered = resized_to_cover(flat, 3, 5).value();
  EXPECT_EQ(covered.width, 3);
  EXPECT_EQ(covered.height, 5);
  EXPECT_EQ(covered.pixels, std::vector<uint8_t>(45, 77));
  const std::string png = read_file(folder.path("a.png"));
  for (size_t size = 0; size < png.size() - 16; ++size)
    EXPECT_FALSE(load_image_file(folder.write("cut.png", png.substr(0, size))).ok()) << size;
}

// Decoders ask for the memory of a picture before they see how little of it is there.
TEST(Images, FewBytesDoNotClaimManyPixels) {
  const Folder folder;
  std::string png = read_file(fixture("grey.png"));
  ASSERT_EQ(png.substr(12, 4), "IHDR");
  const auto with_extent = [&](const std::string& extent) {
    png.replace(16, 8, extent + extent);
    return load_image_file(folder.write("claims.png", png)).status().message();
  };
  EXPECT_THAT(with_extent("\0\0\x3f\xff"s), HasSubstr("impossible extents"));
  EXPECT_THAT(with_extent("\0\0\7\0"s), Not(HasSubstr("impossible extents")));
  std::string jpeg = read_file(fixture("flat.jpg"));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\x3f\xff\x3f\xff");
  EXPECT_THAT(load_image_file(folder.write("claims.jpg", jpeg)).status().message(),
              HasSubstr("impossible extents"));
}

// The decoder has room for 256 of them; sixteen lengths can promise 4080.
TEST(Images, HuffmanTablesWithMoreCodesThanThereAreBytesAreRefused) {
  const Folder folder;
  std::string jpeg = read_file(fixture("flat.jpg"));
  const size_t table = jpeg.find("\xff\xc4");
  ASSERT_NE(table, std::string::npos);
  jpeg.replace(table + 5, 16, std::string(16, '\xff'));
  EXPECT_THAT(load_image_file(folder.write("codes.jpg", jpeg)).status().message(),
              HasSubstr("cannot be read as an image"));
}

TEST(Images, VeryLongOnesAreRefusedBeforeTheyAreScaled) {
  const Folder folder;
  EXPECT_THAT(
      load_image_file(folder.write("long.ppm", "P5\n1\n3000000 255\nabc")).status().message(),
      HasSubstr("impossible extents"));
  const Image flat = {1, 1, 1, {7}};
  EXPECT_EQ(resized(flat, 70000, 1).status().code(), StatusCode::unsupported);
}

TEST(ImageFolder, ClassesPartsAndSizes) {
  const Folder folder;
  const auto png = [&](const std::string& name, int width, int height, uint8_t value) {
    folder.write(name, "");
    const auto pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
    ASSERT_TRUE(
        save_png({width, height, 1, std::vector<uint8_t>(pixels, value)}, folder.path(name)).ok());
  };
  png("train/dog/1.png", 2, 3, 10);
  png("train/dog/more/2.PNG", 2, 3, 20);
  png("train/cat/1.png", 2, 3, 30);
  png("val/dog/9.png", 4, 4, 40);
  folder.write("train/dog/notes.txt", "not an image");
  folder.write("train/.hidden/x.png", "");
  DataSource source = open(folder.path());
  EXPECT_EQ(source.kind, "image folder");
  EXPECT_THAT(source.training->class_names(), ElementsAre("cat", "dog"));
  EXPECT_EQ(source.training->labels(), (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(source.training->fields()[0].dims, (std::vector<int64_t>{1, 3, 2}));
  EXPECT_EQ(sample(*source.training, 2).input, std::string(6, 20));
  EXPECT_EQ(source.test->labels(), (std::vector<int64_t>{1}));
  // Of one size only if they are brought to it.
  png("train/cat/2.png", 5, 5, 50);
  source = open(folder.path());
  std::string input(6, 0);
  int64_t label = 0;
  std::byte* places[] = {reinterpret_cast<std::byte*>(input.data()),
                         reinterpret_cast<std::byte*>(&label)};
  EXPECT_THAT(source.training->read(1, places).message(),
              HasSubstr("2.png: has 5x5 pixels, the first image has 2x3"));
  OpenOptions o;
  o.resize = {4, 4};
  o.channels = 3;
  source = open(folder.path(), o);
  EXPECT_EQ(sample(*source.training, 1).input, std::string(48, 50));
  // Damage shows when the image is read, and names the file.
  folder.write("train/cat/2.png", "PNG?");
  EXPECT_THAT(source.training->read(1, places).message(),
              HasSubstr("2.png: cannot be read as an image"));
  png("val/bird/1.png", 2, 3, 1);
  EXPECT_THAT(problem(folder.path()), HasSubstr("no class of this name"));
  folder.write("empty/a/notes.txt", "");
  EXPECT_THAT(problem(folder.path("empty")), HasSubstr("holds no images"));
}

TEST(OpenDataset, WhatItIsNotIsSaid) {
  const Folder folder;
  EXPECT_THAT(problem(folder.path("missing")), HasSubstr("missing': No such file"));
  EXPECT_THAT(problem(folder.path()), HasSubstr("found none of them"));
  EXPECT_THAT(problem(folder.write("e", "")), HasSubstr("is empty"));
  EXPECT_THAT(problem(folder.write("b", "\1\2\3"s)), HasSubstr("found 3 bytes of something else"));
  OpenOptions o;
  o.task = "regression";
  EXPECT_THAT(problem(fixture("f32.npy"), o), HasSubstr("auto, classes, values"));
  o = {};
  o.shape = {4};
  EXPECT_THAT(problem(fixture("f32.npy"), o), HasSubstr("does not fit inputs of f32[4]"));
  EXPECT_THAT(problem(fixture("scalar_f64.npy")), HasSubstr("single value"));
}

// No elements, but as many samples as an extent can say: what counts them would not come to an end.
TEST(OpenDataset, SamplesNeedElements) {
  const Folder folder;
  const std::string npy = read_file(fixture("f32.npy"));
  const size_t at = npy.find("(2, 3)"), end = npy.find('\n');
  ASSERT_LT(at, end);
  for (const std::string shape : {"(0, 3)", "(99999999999999999,0)", "(9999999999999,0,2,3)"}) {
    const std::string rest = shape + ", }";
    const std::string padding(end - at - rest.size(), ' ');
    EXPECT_THAT(problem(folder.write("x.npy", npy.substr(0, at) + rest + padding + "\n")),
                HasSubstr("no elements"));
  }
  EXPECT_THAT(problem(folder.write("x.idx", "\0\0\10\2\xff\xff\xff\xff\0\0\0\0"s)),
              HasSubstr("no elements"));
}

TEST(OpenDataset, NumbersOfClassesAreNotHuge) {
  const Folder folder;
  OpenOptions o;
  o.targets = folder.path("y.npy");
  ASSERT_TRUE(save_npy(Tensor::from<int64_t>({2}, {1, INT64_MAX}), o.targets).ok());
  EXPECT_THAT(problem(fixture("f32.npy"), o), HasSubstr("too large for the number of a class"));
  ASSERT_TRUE(save_npy(Tensor::from<int64_t>({2}, {1, 16777215}), o.targets).ok());
  EXPECT_EQ(open(fixture("f32.npy"), o).training->classes(), 16777216);
}

TEST(OpenDataset, NpyWithTargets) {
  const Folder folder;
  ASSERT_TRUE(save_npy(Tensor::from<int32_t>({2, 1}, {1, 0}), folder.path("y.npy")).ok());
  OpenOptions o;
  o.targets = folder.path("y.npy");
  const DataSource source = open(fixture("f32.npy"), o);
  EXPECT_EQ(source.training->labels(), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(open(fixture("f32.npy")).training->fields().size(), 1u);
  ASSERT_TRUE(save_npy(Tensor::from<int32_t>({2}, {1, -1}), folder.path("y.npy")).ok());
  EXPECT_THAT(problem(fixture("f32.npy"), o), HasSubstr("label -1 of sample 1"));
  ASSERT_TRUE(save_npy(Tensor::from<float>({2}, {1, 0.5}), folder.path("y.npy")).ok());
  EXPECT_EQ(open(fixture("f32.npy"), o).training->fields()[1].dims, (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace tintype
