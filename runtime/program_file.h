// The .tt file: one program with its constants and machine code.
//
//   0    Header, 64 bytes: magic, format version, size and checksum of the file
//   64   table of sections
//   ...  sections: program (FlatBuffers, see program.fbs), machine code, constants
//
// Sections and each constant are aligned to 64 bytes, so that a mapped file can be used in place.
// The checksum covers every byte of the file but itself.
#pragma once

#include "runtime/kernel.h"
#include "runtime/program.h"
#include "runtime/status.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tintype {

inline constexpr std::array<char, 8> kProgramMagic = {'T', 'i', 'n', 't', 'y', 'p', 'e', '\n'};
inline constexpr uint32_t kProgramVersion = 1;

struct LoadedProgram {
  std::shared_ptr<const Program> program;  ///< its constants point into the mapped file
  std::shared_ptr<const KernelLibrary> kernels;
};

/// Reads and checks a file. Any damage is corrupt_file; a file of another format version, or one
/// for another CPU, is unsupported; what the system refuses is io_error.
Result<LoadedProgram> load_program(const std::string& path);

/// FlatBuffers form of everything but the constants' elements; `offsets` says where those lie.
std::string encode_program(const Program& program, std::span<const uint64_t> offsets);
/// Inverse of encode_program; constants borrow from `constants` and keep `owner` alive.
Result<std::shared_ptr<Program>> decode_program(std::span<const std::byte> encoded,
                                                std::span<const std::byte> constants,
                                                const std::shared_ptr<const void>& owner);

}  // namespace tintype
