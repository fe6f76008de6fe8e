// Datasets from the files and folders that people have.
#pragma once

#include "frontend/data/dataset.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace tintype {

struct OpenOptions {
  /// A second file with the targets, where `path` does not say: IDX or npy.
  std::string targets = {};
  /// Column of a CSV file that holds the targets: its name, or its number from 0, or from the end
  /// with a minus. "none": the file holds inputs alone.
  std::string label = "-1";
  /// What targets of a CSV file are: "classes", "values", or "auto": classes unless a target is a
  /// number with a fraction.
  std::string task = "auto";
  /// Whether the first row of a CSV file names the columns: "yes", "no", or "auto": yes when a cell
  /// of it is no number while the cell below is.
  std::string header = "auto";
  char delimiter = '\0';  ///< of a CSV file; 0: the first row's ',', ';' or tab
  /// Extents of one input, where the file has a flat row of numbers: {1, 28, 28}.
  std::vector<int64_t> shape = {};
  /// Classes in the order of their numbers, for test data that may lack some: text labels and
  /// folders have to be among them. Empty: those found, sorted.
  std::vector<std::string> class_names = {};
  /// Names of the columns of a CSV file that hold inputs, in the order wanted, and of the one that
  /// holds targets: those of other data, for data to go with it. A file without a header is taken
  /// as it is. Empty: all as they come.
  std::vector<std::string> input_names = {};
  std::string target_name = {};
  /// Height and width of the images of a folder: scaled to cover it, and the middle cut out. 0: as
  /// they are, which then have to be of one size.
  std::array<int, 2> resize = {0, 0};
  int channels = 0;  ///< of the images of a folder: 1, 3, or 0: those of the first image
};

/// Training data, and test data where the source keeps them apart.
struct DataSource {
  DatasetPtr training;
  DatasetPtr test;   ///< may be null
  std::string kind;  ///< "IDX", "CIFAR-10", "CSV", "npy", "npz", "image folder"
  /// Of the columns of a CSV file with a header.
  std::vector<std::string> input_names = {};
  std::string target_name = {};
  bool named_classes = false;  ///< labels are names in the source, not numbers
};

/// Tells by content what `path` is:
/// - a folder of IDX files (MNIST; .gz or not), of CIFAR-10's binary files, of one folder of images
///   per class, or of train/ and test/ (or val/) folders of those;
/// - an IDX file (the labels beside it are found by name: images -> labels), a file of CIFAR-10, a
///   CSV file, an .npy file, or an .npz file with members x, y or images, labels (and x_test,
///   y_test).
/// A field is named "input" or "target". Bytes stay bytes (see Normalization); u8 images get a
/// channel axis where they lack one, and it moves in front of height and width. The message of a
/// failure names the file, what was expected and what was found.
Result<DataSource> open_dataset(const std::string& path, const OpenOptions& options = {});

/// Values of an IDX file (http://yann.lecun.com/exdb/mnist), in this machine's byte order; .gz is
/// unpacked.
Result<Tensor> load_idx(const std::string& path);

}  // namespace tintype
