// Running PTX: one thread after the other between barriers, every access checked.
#include "tests/support/cuda/ptx.h"
#include "tests/support/cuda/ptx_numbers.h"
#include "tests/support/cuda/traffic.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace tintype::ptx {

namespace {

constexpr uint64_t kConstants = uint64_t{6} << 60;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

enum class Outcome : uint8_t { finished, waiting };

struct Thread {
  std::vector<uint64_t> registers;
  std::vector<std::byte> local;
  unsigned at[3] = {};
  size_t next = 0;
  bool finished = false, carry = false;
};

/// Who touched a word of shared memory since the last barrier; 0 is nobody.
struct SharedWord {
  uint32_t writer = 0, reader = 0;
  bool many_readers = false;
};

class Runner {
 public:
  Runner(const Module& module, const Kernel& kernel, const Grid& grid,
         const std::vector<std::byte>& parameters, Memory& memory, Traffic* traffic)
      : module_(module), k_(kernel), grid_(grid), parameters_(parameters), memory_(memory),
        traffic_(traffic) {}

  std::string run() {
    const Instruction* current = nullptr;
    current_ = &current;
    if (traffic_ != nullptr) traffic_->begin_launch(k_.name, grid_.blocks, grid_.threads);
    try {
      for (block_[2] = 0; block_[2] < grid_.blocks[2]; ++block_[2])
        for (block_[1] = 0; block_[1] < grid_.blocks[1]; ++block_[1])
          for (block_[0] = 0; block_[0] < grid_.blocks[0]; ++block_[0]) run_block();
      return {};
    } catch (const std::exception& e) {
      const unsigned* t = thread_ == nullptr ? block_ : thread_->at;
      return k_.name + ": line " + std::to_string(current == nullptr ? 0 : current->line) +
             ", block " + std::to_string(block_[0]) + ", thread " + std::to_string(t[0]) + "," +
             std::to_string(t[1]) + ": " + e.what();
    }
  }

 private:
  void run_block() {
    const size_t count = size_t{1} * grid_.threads[0] * grid_.threads[1] * grid_.threads[2];
    const size_t block =
        (size_t{block_[2]} * grid_.blocks[1] + block_[1]) * grid_.blocks[0] + block_[0];
    if (traffic_ != nullptr && !traffic_->begin_block(block, count)) return;
    threads_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      Thread& t = threads_[i];
      t.registers.assign(static_cast<size_t>(k_.registers), 0xBAD0BAD0BAD0BAD0);
      t.local.assign(k_.local_bytes, std::byte{0xFF});
      t.at[0] = static_cast<unsigned>(i) % grid_.threads[0];
      t.at[1] = static_cast<unsigned>(i) / grid_.threads[0] % grid_.threads[1];
      t.at[2] = static_cast<unsigned>(i) / grid_.threads[0] / grid_.threads[1];
      t.next = 0;
      t.finished = false;
    }
    shared_.assign(k_.shared_bytes + grid_.shared_bytes, std::byte{0xFF});
    touched_.assign(shared_.size() / 4 + 1, SharedWord());
    for (size_t left = count; left > 0;) {
      size_t waiting = 0;
      for (size_t i = 0; i < count; ++i) {
        thread_ = &threads_[i];
        id_ = static_cast<uint32_t>(block * count + i + 1);
        if (thread_->finished) continue;
        if (step() == Outcome::waiting) {
          ++waiting;
        } else {
          thread_->finished = true;
          --left;
        }
      }
      if (waiting > 0 && left != waiting) fail("some threads wait at a barrier, others have left");
      std::fill(touched_.begin(), touched_.end(), SharedWord());
      if (traffic_ != nullptr) traffic_->end_of_interval();
    }
    if (traffic_ != nullptr) traffic_->end_block();
    thread_ = nullptr;
  }

  Outcome step() {
    while (true) {
      const Instruction& in = k_.code[thread_->next++];
      *current_ = &in;
      if (traffic_ != nullptr)
        traffic_->instruction(number(), is_float(in.type) && in.op == Op::fma);
      if (in.guard.kind != Operand::Kind::none && (value(in.guard) & 1) == in.guard.inverted)
        continue;
      switch (in.op) {
        case Op::exit: return Outcome::finished;
        case Op::barrier: return Outcome::waiting;
        case Op::branch: thread_->next = static_cast<size_t>(in.target); break;
        case Op::load: load(in); break;
        case Op::store: store(in); break;
        default: compute(in);
      }
    }
  }

  uint64_t value(const Operand& o) const {
    switch (o.kind) {
      case Operand::Kind::reg: return thread_->registers[static_cast<size_t>(o.reg)];
      case Operand::Kind::value: return o.value;
      case Operand::Kind::special: {
        const auto axis = static_cast<size_t>(o.reg % 3);
        const unsigned* lists[] = {thread_->at, grid_.threads, block_, grid_.blocks};
        return lists[o.reg / 3][axis];
      }
      case Operand::Kind::none: break;
    }
    return 0;
  }

  uint64_t arg(const Instruction& in, size_t i) const { return value(in.operands[i]); }
  float real(const Instruction& in, size_t i) const {
    const float f = to_float(arg(in, i));
    return in.flush ? flushed(f) : f;
  }

  void set(const Operand& o, uint64_t v) {
    if (o.kind == Operand::Kind::reg) thread_->registers[static_cast<size_t>(o.reg)] = v;
  }

  /// Of the thread in its block.
  size_t number() const { return static_cast<size_t>(thread_ - threads_.data()); }

  // ---- memory -------------------------------------------------------------------------------

  void tell(const Instruction& in, uint64_t a, size_t bytes) {
    if (traffic_ == nullptr || in.space == Space::param || a >= kConstants) return;
    const auto memory = in.space == Space::shared  ? Traffic::Memory::shared
                        : in.space == Space::local ? Traffic::Memory::local
                                                   : Traffic::Memory::global;
    traffic_->access(number(), thread_->next, memory, a, bytes);
  }

  uint64_t address(const Operand& o) const {
    return o.kind == Operand::Kind::reg ? thread_->registers[static_cast<size_t>(o.reg)] + o.value
                                        : o.value;
  }

  static void inside(uint64_t offset, size_t bytes, size_t size, const char* what) {
    if (offset > size || bytes > size - offset)
      fail("access at " + std::to_string(offset) + " of " + std::to_string(size) + " bytes of " +
           what);
  }

  const std::byte* read_from(const Instruction& in, uint64_t a, size_t bytes) {
    if (a % bytes != 0) fail("address " + std::to_string(a) + " is not aligned");
    switch (in.space) {
      case Space::param: inside(a, bytes, parameters_.size(), "parameters"); return &parameters_[a];
      case Space::local:
        inside(a, bytes, thread_->local.size(), "local memory");
        return &thread_->local[a];
      case Space::shared: note_shared(a, bytes, false); return &shared_[a];
      default: break;
    }
    if (a >= kConstants) {
      inside(a - kConstants, bytes, module_.constants.size(), "constants");
      return &module_.constants[a - kConstants];
    }
    const std::byte* p = memory_.at(a, bytes);
    if (p == nullptr) fail("reads outside of all blocks");
    if (const std::string* race = memory_.race(a, bytes, false)) fail(*race);
    const uint32_t writer = memory_.writer(a);
    if (writer != 0 && writer != id_) fail("reads what another thread of the launch wrote");
    return p;
  }

  std::byte* write_to(const Instruction& in, uint64_t a, size_t bytes) {
    if (a % bytes != 0) fail("address " + std::to_string(a) + " is not aligned");
    if (in.space == Space::local) {
      inside(a, bytes, thread_->local.size(), "local memory");
      return &thread_->local[a];
    }
    if (in.space == Space::shared) {
      note_shared(a, bytes, true);
      return &shared_[a];
    }
    std::byte* p = memory_.at(a, bytes);
    if (p == nullptr) fail("writes outside of all blocks");
    if (const std::string* race = memory_.race(a, bytes, true)) fail(*race);
    for (size_t i = 0; i < bytes; ++i) {
      uint32_t& writer = memory_.writer(a + i);
      if (writer != 0 && writer != id_) fail("writes what another thread of the launch wrote");
      writer = id_;
    }
    return p;
  }

  /// Two accesses between two barriers, one of them a write, by different threads: a race.
  void note_shared(uint64_t a, size_t bytes, bool write) {
    inside(a, bytes, shared_.size(), "shared memory");
    for (uint64_t word = a / 4; word <= (a + bytes - 1) / 4; ++word) {
      SharedWord& w = touched_[word];
      const bool others_read = w.many_readers || (w.reader != 0 && w.reader != id_);
      if ((w.writer != 0 && w.writer != id_) || (write && others_read))
        fail("a race in shared memory, at " + std::to_string(a));
      if (write) w.writer = id_;
      else if (w.reader == 0) w.reader = id_;
      else if (w.reader != id_) w.many_readers = true;
    }
  }

  void load(const Instruction& in) {
    const auto bytes = static_cast<size_t>(bits_of(in.type)) / 8;
    const uint64_t a = address(in.operands[0]);
    if (a % (bytes * in.to.size()) != 0) fail("a vector that is not aligned");
    tell(in, a, bytes * in.to.size());
    for (size_t i = 0; i < in.to.size(); ++i) {
      uint64_t v = 0;
      std::memcpy(&v, read_from(in, a + i * bytes, bytes), bytes);
      if (is_signed(in.type)) v = static_cast<uint64_t>(extended(v, bits_of(in.type)));
      set(in.to[i], v);
    }
  }

  void store(const Instruction& in) {
    const auto bytes = static_cast<size_t>(bits_of(in.type)) / 8;
    const uint64_t a = address(in.to[0]);
    if (a % (bytes * in.operands.size()) != 0) fail("a vector that is not aligned");
    tell(in, a, bytes * in.operands.size());
    for (size_t i = 0; i < in.operands.size(); ++i) {
      const uint64_t v = arg(in, i);
      std::memcpy(write_to(in, a + i * bytes, bytes), &v, bytes);
    }
  }

  // ---- arithmetic ---------------------------------------------------------------------------

  void compute(const Instruction& in) {
    switch (in.op) {
      case Op::mov:
      case Op::cvta: return set(in.to[0], masked(arg(in, 0), bits_of(in.type)));
      case Op::pack: return pack(in);
      case Op::unpack: return unpack(in);
      case Op::setp: return set(in.to[0], setp(in));
      case Op::selp: return set(in.to[0], (arg(in, 2) & 1) != 0 ? arg(in, 0) : arg(in, 1));
      case Op::cvt: return set(in.to[0], convert(in));
      default: break;
    }
    if (in.carry_in || in.carry_out || in.high) return set(in.to[0], carried(in));
    const uint64_t v = is_float(in.type)       ? float_op(in)
                       : in.type == Type::pred ? integer_op(in) & 1
                                               : integer_op(in);
    const bool wide = in.op == Op::mul_wide || in.op == Op::mad_wide;
    const bool count = in.op == Op::popc || in.op == Op::clz;
    set(in.to[0], masked(v, wide ? 2 * bits_of(in.type) : count ? 32 : bits_of(in.type)));
  }

  void pack(const Instruction& in) {
    const int part = bits_of(in.type) / static_cast<int>(in.operands.size());
    uint64_t v = 0;
    for (size_t i = 0; i < in.operands.size(); ++i)
      v |= masked(arg(in, i), part) << (static_cast<int>(i) * part);
    set(in.to[0], v);
  }

  void unpack(const Instruction& in) {
    const int part = bits_of(in.type) / static_cast<int>(in.to.size());
    for (size_t i = 0; i < in.to.size(); ++i)
      set(in.to[i], masked(arg(in, 0) >> (static_cast<int>(i) * part), part));
  }

  template <typename V>
  static bool compared(Compare c, V a, V b) {
    switch (c) {
      case Compare::eq: return a == b;
      case Compare::ne: return a != b;
      case Compare::lt:
      case Compare::lo: return a < b;
      case Compare::le:
      case Compare::ls: return a <= b;
      case Compare::gt:
      case Compare::hi: return a > b;
      case Compare::ge:
      case Compare::hs: return a >= b;
      case Compare::equ: return !(a < b || a > b);
      case Compare::neu: return !(a == b);
      case Compare::ltu: return !(a >= b);
      case Compare::leu: return !(a > b);
      case Compare::gtu: return !(a <= b);
      case Compare::geu: return !(a < b);
      case Compare::num: return a == a && b == b;
      case Compare::nan: return !(a == a && b == b);
    }
    return false;
  }

  uint64_t setp(const Instruction& in) const {
    const int bits = bits_of(in.type);
    bool holds = false;
    if (is_float(in.type)) {
      double a = to_double(in.type, arg(in, 0)), b = to_double(in.type, arg(in, 1));
      // "ne" of numbers is ordered, unlike C++'s.
      holds = compared(in.compare, a, b) && (in.compare != Compare::ne || (a == a && b == b));
    } else if (is_signed(in.type)) {
      holds = compared(in.compare, extended(arg(in, 0), bits), extended(arg(in, 1), bits));
    } else {
      holds = compared(in.compare, masked(arg(in, 0), bits), masked(arg(in, 1), bits));
    }
    if (in.combine == Combine::none) return holds;
    const bool other = ((arg(in, 2) & 1) != 0) != in.operands[2].inverted;
    return in.combine == Combine::and_  ? holds && other
           : in.combine == Combine::or_ ? holds || other
                                        : holds != other;
  }

  uint64_t convert(const Instruction& in) const {
    const uint64_t v = arg(in, 0);
    const int bits = bits_of(in.from);
    if (is_float(in.from)) {
      double d = to_double(in.from, v);
      if (in.flush && in.from == Type::f32) d = static_cast<double>(flushed(static_cast<float>(d)));
      d = rounded(in.round, d);
      if (in.saturate) d = std::isnan(d) ? 0.0 : std::fmin(std::fmax(d, 0.0), 1.0);
      if (!is_float(in.type)) return to_integer(d, in.type);
      const uint64_t r = from_double(d, in.type);
      return in.flush && in.type == Type::f32 ? of_float(flushed(to_float(r))) : r;
    }
    if (is_float(in.type)) {
      // Straight to the type: through f64, 64-bit integers would round twice.
      const int64_t s = extended(v, bits);
      const uint64_t u = masked(v, bits);
      if (in.type == Type::f32)
        return of_float(is_signed(in.from) ? static_cast<float>(s) : static_cast<float>(u));
      return from_double(is_signed(in.from) ? static_cast<double>(s) : static_cast<double>(u),
                         in.type);
    }
    if (in.saturate) fail("saturating integer conversions are not supported");
    const uint64_t wide =
        is_signed(in.from) ? static_cast<uint64_t>(extended(v, bits)) : masked(v, bits);
    return masked(wide, bits_of(in.type));
  }

  uint64_t float_op(const Instruction& in) const {
    if (in.type == Type::f32) {
      float r = real_op<float>(in, [&](size_t i) { return real(in, i); });
      if (in.saturate) r = std::isnan(r) ? 0.0f : std::fmin(std::fmax(r, 0.0f), 1.0f);
      return of_float(in.flush ? flushed(r) : r);
    }
    if (in.type == Type::f64)
      return std::bit_cast<uint64_t>(
          real_op<double>(in, [&](size_t i) { return std::bit_cast<double>(arg(in, i)); }));
    // 16-bit floats: one operation in f32, rounded, is the operation rounded.
    const float r = real_op<float>(
        in, [&](size_t i) { return static_cast<float>(to_double(in.type, arg(in, i))); });
    return from_double(static_cast<double>(r), in.type);
  }

  template <typename F, typename Arg>
  static F real_op(const Instruction& in, const Arg& x) {
    switch (in.op) {
      case Op::add: return x(0) + x(1);
      case Op::sub: return x(0) - x(1);
      case Op::mul_lo: return x(0) * x(1);
      case Op::fma:
      case Op::mad_lo: return std::fma(x(0), x(1), x(2));
      case Op::div: return x(0) / x(1);
      case Op::min:
        if (in.nan && (std::isnan(x(0)) || std::isnan(x(1))))
          return std::numeric_limits<F>::quiet_NaN();
        return std::fmin(x(0), x(1));
      case Op::max:
        if (in.nan && (std::isnan(x(0)) || std::isnan(x(1))))
          return std::numeric_limits<F>::quiet_NaN();
        return std::fmax(x(0), x(1));
      case Op::abs: return std::fabs(x(0));
      case Op::neg: return -x(0);
      case Op::rcp: return F(1) / x(0);
      case Op::sqrt: return std::sqrt(x(0));
      case Op::rsqrt: return F(1) / std::sqrt(x(0));
      case Op::ex2: return std::exp2(x(0));
      case Op::lg2: return std::log2(x(0));
      case Op::sin: return std::sin(x(0));
      case Op::cos: return std::cos(x(0));
      case Op::tanh: return std::tanh(x(0));
      case Op::copysign: return std::copysign(x(1), x(0));
      default: fail("an instruction on floats is not supported");
    }
  }

  /// add and mad with a carry from the instruction before or to the one behind.
  uint64_t carried(const Instruction& in) {
    const int bits = bits_of(in.type);
    const uint64_t a = masked(arg(in, 0), bits), b = masked(arg(in, 1), bits);
    uint64_t sum = a, more = b;
    if (in.op == Op::mad_lo) {
      sum = in.high ? masked(mul_hi(a, b, bits, is_signed(in.type)), bits) : masked(a * b, bits);
      more = masked(arg(in, 2), bits);
    }
    const bool one = in.carry_in && thread_->carry;
    const uint64_t first = masked(sum + more, bits), all = masked(first + (one ? 1 : 0), bits);
    if (in.carry_out) thread_->carry = first < sum || all < first;
    return all;
  }

  uint64_t integer_op(const Instruction& in) const {
    const int bits = bits_of(in.type);
    const bool sign = is_signed(in.type);
    const uint64_t a = masked(arg(in, 0), bits);
    const uint64_t b = in.operands.size() > 1 ? masked(arg(in, 1), std::max(bits, 32)) : 0;
    const int64_t sa = extended(a, bits), sb = extended(b, bits);
    const auto counts = static_cast<uint32_t>(b);
    switch (in.op) {
      case Op::add: return a + b;
      case Op::sub: return a - b;
      case Op::mul_lo: return a * b;
      case Op::mad_lo: return a * b + arg(in, 2);
      case Op::mul_wide: return sign ? static_cast<uint64_t>(sa * sb) : a * masked(b, bits);
      case Op::mad_wide:
        return (sign ? static_cast<uint64_t>(sa * sb) : a * masked(b, bits)) + arg(in, 2);
      case Op::mul_hi: return mul_hi(a, masked(b, bits), bits, sign);
      case Op::div:
        if (masked(b, bits) == 0) return ~uint64_t{0};
        if (sign && sb == -1) return 0 - a;
        return sign ? static_cast<uint64_t>(sa / sb) : a / masked(b, bits);
      case Op::rem:
        if (masked(b, bits) == 0) return a;
        if (sign && sb == -1) return 0;
        return sign ? static_cast<uint64_t>(sa % sb) : a % masked(b, bits);
      case Op::min: return sign ? (sa < sb ? a : b) : std::min(a, masked(b, bits));
      case Op::max: return sign ? (sa > sb ? a : b) : std::max(a, masked(b, bits));
      case Op::abs: return sa < 0 ? 0 - a : a;
      case Op::neg: return 0 - a;
      case Op::not_: return ~a;
      case Op::and_: return a & b;
      case Op::or_: return a | b;
      case Op::xor_: return a ^ b;
      case Op::shl: return counts >= static_cast<uint32_t>(bits) ? 0 : a << counts;
      case Op::shr:
        if (sign)
          return static_cast<uint64_t>(sa >>
                                       std::min<uint32_t>(counts, static_cast<uint32_t>(bits) - 1));
        return counts >= static_cast<uint32_t>(bits) ? 0 : a >> counts;
      case Op::shf_left:
      case Op::shf_right: {
        const uint64_t both = masked(b, 32) << 32 | a;
        const auto n = static_cast<uint32_t>(arg(in, 2)) & 31;
        return in.op == Op::shf_right ? both >> n : (both << n) >> 32;
      }
      case Op::bfe: return extract(in, a, bits, sign);
      case Op::bfi: return insert(in, a, b);
      case Op::prmt: return permute(in, a, masked(b, 32));
      case Op::popc: return static_cast<uint64_t>(std::popcount(a));
      case Op::clz: return static_cast<uint64_t>(std::countl_zero(a) - (64 - bits));
      case Op::brev: return reversed(a, bits);
      default: fail("an instruction on integers is not supported");
    }
  }

  uint64_t extract(const Instruction& in, uint64_t a, int bits, bool sign) const {
    const uint64_t from = arg(in, 1) & 0xFF, length = arg(in, 2) & 0xFF;
    if (length == 0 || from >= static_cast<uint64_t>(bits)) return 0;
    const uint64_t v = a >> from;
    const int width =
        static_cast<int>(std::min<uint64_t>(length, static_cast<uint64_t>(bits) - from));
    return sign ? static_cast<uint64_t>(extended(v, width)) : masked(v, width);
  }

  uint64_t insert(const Instruction& in, uint64_t a, uint64_t b) const {
    const uint64_t from = arg(in, 2) & 0xFF, length = arg(in, 3) & 0xFF;
    if (from >= 64) return b;
    const uint64_t mask = masked(~uint64_t{0}, static_cast<int>(std::min<uint64_t>(length, 64)))
                          << from;
    return (b & ~mask) | ((a << from) & mask);
  }

  uint64_t permute(const Instruction& in, uint64_t a, uint64_t b) const {
    const uint64_t bytes = b << 32 | a, selector = arg(in, 2);
    uint64_t v = 0;
    for (int i = 0; i < 4; ++i) {
      const uint64_t s = selector >> (4 * i) & 0xF;
      uint64_t byte = bytes >> (8 * (s & 7)) & 0xFF;
      if ((s & 8) != 0) byte = (byte & 0x80) != 0 ? 0xFF : 0;
      v |= byte << (8 * i);
    }
    return v;
  }

  const Module& module_;
  const Kernel& k_;
  const Grid& grid_;
  const std::vector<std::byte>& parameters_;
  Memory& memory_;
  Traffic* const traffic_;
  const Instruction** current_ = nullptr;
  unsigned block_[3] = {};
  std::vector<Thread> threads_;
  Thread* thread_ = nullptr;
  uint32_t id_ = 0;
  std::vector<std::byte> shared_;
  std::vector<SharedWord> touched_;
};

}  // namespace

std::string run(const Module& module, const Kernel& kernel, const Grid& grid,
                const std::vector<std::byte>& parameters, Memory& memory, Traffic* traffic) {
  return Runner(module, kernel, grid, parameters, memory, traffic).run();
}

}  // namespace tintype::ptx
