// One reader per kind of training data. All throw DataError.
#pragma once

#include "frontend/data/bytes.h"
#include "frontend/data/dataset.h"
#include "frontend/data/open_dataset.h"
#include "runtime/tensor.h"

#include <optional>
#include <string>
#include <vector>

namespace tintype {

bool is_idx(std::span<const std::byte> bytes);
Tensor parse_idx(const Bytes& bytes, const std::string& path);
/// Whether the folder holds files whose names say IDX images.
bool is_idx_folder(const std::string& path);
DataSource read_idx_folder(const std::string& path, const OpenOptions& options);
DataSource read_idx_file(const Bytes& bytes, const std::string& path, const OpenOptions& options);

bool is_cifar10(std::span<const std::byte> bytes);
bool is_cifar10_folder(const std::string& path);
DataSource read_cifar10_folder(const std::string& path);
DataSource read_cifar10_file(const Bytes& bytes, const std::string& path);

DataSource read_csv(const Bytes& bytes, const std::string& path, const OpenOptions& options);

DataSource read_npy_file(const Bytes& bytes, const std::string& path, const OpenOptions& options);
DataSource read_npz_file(const Bytes& bytes, const std::string& path, const OpenOptions& options);

/// Whether the folder has subfolders.
bool is_image_folder(const std::string& path);
DataSource read_image_folder(const std::string& path, const OpenOptions& options);

/// What the readers share: arrays as people store them, to columns.
Column input_column(Tensor values, const OpenOptions& options, const std::string& path);
/// Integers of rank 1 (or [N,1]) are labels, anything else values.
Column target_column(const Tensor& values, const std::string& path);
DatasetPtr dataset_of(Column input, std::optional<Column> target, const std::string& path,
                      std::vector<std::string> class_names = {});

/// Lines of a text file, without line ends and empty lines.
std::vector<std::string> lines_of(const Bytes& bytes);

}  // namespace tintype
