// PTX text as kernels that this computer can run, slowly and with every access checked: what stands
// in for a GPU in tests.
//
// The subset is what LLVM's NVPTX back end writes for our kernels; anything else is an error that
// names the instruction. Threads of a block take turns between barriers, one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tintype::ptx {

enum class Type : uint8_t {
  pred,
  b8,
  b16,
  b32,
  b64,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  bf16,
  f32,
  f64
};
int bits_of(Type t);

enum class Space : uint8_t { generic, param, global, shared, local, constant };

enum class Op : uint8_t {
  add,
  sub,
  mul_lo,
  mul_hi,
  mul_wide,
  mad_lo,
  mad_wide,
  fma,
  div,
  rem,
  min,
  max,
  abs,
  neg,
  not_,
  and_,
  or_,
  xor_,
  shl,
  shr,
  shf_left,
  shf_right,
  bfe,
  bfi,
  prmt,
  popc,
  clz,
  brev,
  rcp,
  sqrt,
  rsqrt,
  ex2,
  lg2,
  sin,
  cos,
  tanh,
  copysign,
  mov,
  pack,
  unpack,
  cvta,
  cvt,
  setp,
  selp,
  load,
  store,
  branch,
  barrier,
  exit,
};

enum class Compare : uint8_t {
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  lo,
  ls,
  hi,
  hs,
  equ,
  neu,
  ltu,
  leu,
  gtu,
  geu,
  num,
  nan
};
enum class Round : uint8_t { none, nearest_int, zero_int, down_int, up_int };
enum class Combine : uint8_t { none, and_, or_, xor_ };

struct Operand {
  enum class Kind : uint8_t { none, reg, value, special };
  Kind kind = Kind::none;
  int32_t reg = -1;    ///< a register, or the number of a special one
  uint64_t value = 0;  ///< of an immediate; what is added to the register of an address
  bool inverted = false;
};

struct Instruction {
  Op op = Op::exit;
  Type type = Type::b32, from = Type::b32;  ///< `from`: what cvt and unpack read
  Space space = Space::generic;
  Compare compare = Compare::eq;
  Combine combine = Combine::none;
  Round round = Round::none;
  bool flush = false, saturate = false, nan = false;
  bool carry_in = false, carry_out = false, high = false;  ///< of additions and mad
  Operand guard;
  std::vector<Operand> to, operands;
  int32_t target = -1;
  int32_t line = 0;
};

struct Kernel {
  struct Parameter {
    size_t offset, bytes;
  };
  std::string name;
  std::vector<Parameter> parameters;
  size_t parameter_bytes = 0;
  std::vector<Instruction> code;
  int registers = 0;
  size_t local_bytes = 0, shared_bytes = 0;  ///< declared; dynamic shared memory lies behind
};

struct Module {
  std::map<std::string, Kernel> kernels;
  std::vector<std::byte> constants;
};

/// Null, with `problem` set, when the text is not of the subset.
std::unique_ptr<Module> parse(std::string_view text, std::string& problem);

/// Memory that kernels may use. Who wrote what in a launch is asked for, so that accesses whose
/// order is not defined are found.
class Memory {
 public:
  virtual ~Memory() = default;
  /// The bytes behind a device address, or null when they do not lie inside one block.
  virtual std::byte* at(uint64_t address, size_t bytes) = 0;
  /// The thread of this launch that wrote the byte last, counted from 1, or 0. A reference.
  virtual uint32_t& writer(uint64_t address) = 0;
  /// Null, or what is wrong with an access beside what other streams do.
  virtual const std::string* race(uint64_t address, size_t bytes, bool write) = 0;
};

struct Grid {
  unsigned blocks[3], threads[3], shared_bytes;
};

class Traffic;

/// Runs a launch to its end, or says what went wrong: "f: line 12: ...". What is moved is told to
/// `traffic`, if there is one, which may leave blocks out.
std::string run(const Module& module, const Kernel& kernel, const Grid& grid,
                const std::vector<std::byte>& parameters, Memory& memory,
                Traffic* traffic = nullptr);

}  // namespace tintype::ptx
