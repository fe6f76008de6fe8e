// From PTX text to instructions.
#include "tests/support/cuda/ptx.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <unordered_map>

namespace tintype::ptx {

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

const std::map<std::string_view, Type>& types() {
  static const std::map<std::string_view, Type> map = {
      {"pred", Type::pred}, {"b8", Type::b8},   {"b16", Type::b16},   {"b32", Type::b32},
      {"b64", Type::b64},   {"u8", Type::u8},   {"u16", Type::u16},   {"u32", Type::u32},
      {"u64", Type::u64},   {"s8", Type::s8},   {"s16", Type::s16},   {"s32", Type::s32},
      {"s64", Type::s64},   {"f16", Type::f16}, {"bf16", Type::bf16}, {"f32", Type::f32},
      {"f64", Type::f64}};
  return map;
}

const std::map<std::string_view, Op>& ops() {
  static const std::map<std::string_view, Op> map = {
      {"add", Op::add},    {"sub", Op::sub},     {"fma", Op::fma},
      {"div", Op::div},    {"rem", Op::rem},     {"min", Op::min},
      {"max", Op::max},    {"abs", Op::abs},     {"neg", Op::neg},
      {"not", Op::not_},   {"and", Op::and_},    {"or", Op::or_},
      {"xor", Op::xor_},   {"shl", Op::shl},     {"shr", Op::shr},
      {"bfe", Op::bfe},    {"bfi", Op::bfi},     {"prmt", Op::prmt},
      {"popc", Op::popc},  {"clz", Op::clz},     {"brev", Op::brev},
      {"rcp", Op::rcp},    {"sqrt", Op::sqrt},   {"rsqrt", Op::rsqrt},
      {"ex2", Op::ex2},    {"lg2", Op::lg2},     {"sin", Op::sin},
      {"cos", Op::cos},    {"tanh", Op::tanh},   {"mov", Op::mov},
      {"cvta", Op::cvta},  {"cvt", Op::cvt},     {"setp", Op::setp},
      {"selp", Op::selp},  {"ld", Op::load},     {"st", Op::store},
      {"bra", Op::branch}, {"bar", Op::barrier}, {"barrier", Op::barrier},
      {"ret", Op::exit},   {"exit", Op::exit},   {"copysign", Op::copysign}};
  return map;
}

const std::map<std::string_view, Compare>& comparisons() {
  static const std::map<std::string_view, Compare> map = {
      {"eq", Compare::eq},   {"ne", Compare::ne},   {"lt", Compare::lt},   {"le", Compare::le},
      {"gt", Compare::gt},   {"ge", Compare::ge},   {"lo", Compare::lo},   {"ls", Compare::ls},
      {"hi", Compare::hi},   {"hs", Compare::hs},   {"equ", Compare::equ}, {"neu", Compare::neu},
      {"ltu", Compare::ltu}, {"leu", Compare::leu}, {"gtu", Compare::gtu}, {"geu", Compare::geu},
      {"num", Compare::num}, {"nan", Compare::nan}};
  return map;
}

std::string_view trimmed(std::string_view s) {
  const size_t begin = s.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string_view> split(std::string_view s, char by) {
  std::vector<std::string_view> parts;
  int depth = 0;  // of braces and brackets
  size_t start = 0;
  for (size_t i = 0; i <= s.size(); ++i) {
    if (i < s.size() && (s[i] == '{' || s[i] == '[')) ++depth;
    if (i < s.size() && (s[i] == '}' || s[i] == ']')) --depth;
    if (i < s.size() && (s[i] != by || depth > 0)) continue;
    parts.push_back(trimmed(s.substr(start, i - start)));
    start = i + 1;
  }
  return parts;
}

/// Bytes in a declaration such as ".shared .align 4 .b8 name[128]".
size_t array_bytes(std::string_view declaration) {
  const size_t open = declaration.find('['), close = declaration.find(']');
  if (open == std::string_view::npos || close == open + 1) return 0;
  return std::stoul(std::string(declaration.substr(open + 1, close - open - 1)));
}

std::string name_in(std::string_view declaration) {
  const size_t end = std::min(declaration.find_first_of("[;,="), declaration.size());
  const std::string_view front = trimmed(declaration.substr(0, end));
  return std::string(front.substr(front.find_last_of(" \t") + 1));
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), module_(std::make_unique<Module>()) {}

  std::unique_ptr<Module> run() {
    size_t number = 0;
    for (size_t start = 0; start < text_.size();) {
      const size_t end = std::min(text_.find('\n', start), text_.size());
      line_ = static_cast<int32_t>(++number);
      std::string_view line = text_.substr(start, end - start);
      line = trimmed(line.substr(0, line.find("//")));
      start = end + 1;
      if (!line.empty()) take(line);
    }
    return std::move(module_);
  }
  int32_t line() const { return line_; }

 private:
  void take(std::string_view line) {
    if (kernel_ == nullptr) return outside(line);
    if (header_) return parameter(line);
    if (line == "{") {
      ++depth_;
      return;
    }
    if (line == "}") {
      if (--depth_ == 0) end_kernel();
      return;
    }
    if (line.front() == '{') return scope(line);
    if (line.front() == '.') return declaration(line);
    if (line.back() == ':') {
      labels_[std::string(line.substr(0, line.size() - 1))] =
          static_cast<int32_t>(kernel_->code.size());
      return;
    }
    instruction(line);
  }

  /// "{ .reg .b32 tmp; mov.b64 {%r1, tmp}, %rd2; }": half of a register pair.
  void scope(std::string_view line) {
    if (line.back() != '}') fail("scopes over several lines are not supported");
    for (std::string_view part : split(line.substr(1, line.size() - 2), ';'))
      if (!part.empty() && !part.starts_with(".reg")) instruction(std::string(part) + ";");
  }

  void outside(std::string_view line) {
    if (line.find(".func") != std::string_view::npos) fail("functions are not supported");
    if (line.find(".entry") != std::string_view::npos) {
      const size_t at = line.find(".entry") + 7;
      const std::string name(line.substr(at, line.find('(') - at));
      kernel_ = &module_->kernels[name];
      kernel_->name = name;
      header_ = line.find(')') == std::string_view::npos;
      registers_.clear();
      labels_.clear();
      targets_.clear();
      symbols_ = globals_;
      return;
    }
    if (line.find(".shared") != std::string_view::npos) {
      globals_[name_in(line)] = shared_;
      shared_ += array_bytes(line);
    } else if (line.find(".const") != std::string_view::npos ||
               line.find(".global") != std::string_view::npos) {
      constant(line);
    }
  }

  void constant(std::string_view line) {
    const size_t size = line.find(".b8") != std::string_view::npos ? 1 : 0;
    if (size == 0) fail("constants of other types than b8 are not supported");
    globals_[name_in(line)] = kConstants + module_->constants.size();
    const size_t open = line.find('{');
    const size_t before = module_->constants.size();
    if (open != std::string_view::npos)
      for (std::string_view v : split(line.substr(open + 1, line.find('}') - open - 1), ','))
        module_->constants.push_back(
            static_cast<std::byte>(std::stoul(std::string(v), nullptr, 0)));
    module_->constants.resize(std::max(module_->constants.size(), before + array_bytes(line)));
  }

  void parameter(std::string_view line) {
    if (line.find(".param") != std::string_view::npos) {
      const size_t at = line.find(".param") + 7;
      const std::string_view rest = line.substr(at);
      const std::string_view type = rest.substr(1, rest.find(' ') - 1);
      const auto bytes = static_cast<size_t>(bits_of(types().at(type))) / 8;
      const size_t offset = (kernel_->parameter_bytes + bytes - 1) / bytes * bytes;
      symbols_[name_in(line)] = offset;
      kernel_->parameters.push_back({offset, bytes});
      kernel_->parameter_bytes = offset + bytes;
    }
    if (line.find(')') != std::string_view::npos) header_ = false;
  }

  void declaration(std::string_view line) {
    if (line.starts_with(".reg") || line.starts_with(".pragma") || line.starts_with(".loc "))
      return;
    if (line.starts_with(".maxntid") || line.starts_with(".minnctapersm")) return;
    if (line.starts_with(".local")) {
      symbols_[name_in(line)] = kernel_->local_bytes;
      kernel_->local_bytes += (array_bytes(line) + 15) / 16 * 16;
    } else if (line.starts_with(".shared")) {
      symbols_[name_in(line)] = shared_;
      shared_ += (array_bytes(line) + 15) / 16 * 16;
    } else {
      fail("directive '" + std::string(line) + "' is not supported");
    }
  }

  void end_kernel() {
    for (const auto& [at, label] : targets_) {
      const auto it = labels_.find(label);
      if (it == labels_.end()) fail("there is no label " + label);
      kernel_->code[at].target = it->second;
    }
    kernel_->code.push_back({});  // exit
    kernel_->registers = static_cast<int>(registers_.size());
    kernel_->shared_bytes = shared_;
    kernel_ = nullptr;
  }

  int32_t reg(std::string_view name) {
    return registers_.emplace(std::string(name), static_cast<int32_t>(registers_.size()))
        .first->second;
  }

  std::optional<int32_t> special(std::string_view name) const {
    static const char* const names[] = {"%tid.x",   "%tid.y",    "%tid.z",    "%ntid.x",
                                        "%ntid.y",  "%ntid.z",   "%ctaid.x",  "%ctaid.y",
                                        "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z"};
    for (int32_t i = 0; i < 12; ++i)
      if (name == names[i]) return i;
    return std::nullopt;
  }

  Operand operand(std::string_view s) {
    Operand o;
    if (s == "_") return o;
    if (s.front() == '!') {
      o = operand(s.substr(1));
      o.inverted = true;
      return o;
    }
    if (s.front() == '%' || s == "tmp") {
      const auto number = special(s);
      o.kind = number ? Operand::Kind::special : Operand::Kind::reg;
      o.reg = number ? *number : reg(s);
      return o;
    }
    o.kind = Operand::Kind::value;
    if (const auto it = symbols_.find(std::string(s)); it != symbols_.end()) o.value = it->second;
    else o.value = immediate(std::string(s));
    return o;
  }

  static uint64_t immediate(const std::string& s) {
    if (s == "true") return 1;
    if (s == "false") return 0;
    if (s.starts_with("0f") || s.starts_with("0d")) return std::stoull(s.substr(2), nullptr, 16);
    size_t used = 0;
    uint64_t v = 0;
    if (s.front() == '-') v = static_cast<uint64_t>(std::stoll(s, &used, 0));
    else v = std::stoull(s, &used, 0);
    if (used + 1 == s.size() && s.back() == 'U') ++used;  // unsigned, as in C
    if (used != s.size()) fail("'" + s + "' is no number");
    return v;
  }

  /// [register + offset], [symbol + offset], [register]
  Operand address(std::string_view s) {
    s = s.substr(1, s.size() - 2);
    Operand o;
    o.kind = Operand::Kind::value;
    for (std::string_view part : split(s, '+')) {
      const Operand p = operand(part);
      if (p.kind == Operand::Kind::reg) {
        o.kind = Operand::Kind::reg;
        o.reg = p.reg;
      } else {
        o.value += p.value;
      }
    }
    return o;
  }

  std::vector<Operand> list(std::string_view s) {
    std::vector<Operand> found;
    if (s.front() == '{')
      for (std::string_view part : split(s.substr(1, s.size() - 2), ','))
        found.push_back(operand(part));
    else if (s.front() == '[') found.push_back(address(s));
    else found.push_back(operand(s));
    return found;
  }

  void instruction(std::string_view line) {
    if (line.back() != ';') fail("instructions over several lines are not supported");
    line = trimmed(line.substr(0, line.size() - 1));
    Instruction in;
    in.line = line_;
    if (line.front() == '@') {
      const size_t space = line.find(' ');
      in.guard = operand(line.substr(1, space - 1));
      line = trimmed(line.substr(space));
    }
    const size_t space = std::min(line.find_first_of(" \t"), line.size());
    const std::vector<std::string_view> words = split(line.substr(0, space), '.');
    const std::string_view rest = trimmed(line.substr(space));
    mnemonic(in, words);
    if (in.op == Op::branch) {
      targets_.emplace_back(kernel_->code.size(), std::string(rest));
    } else if (in.op == Op::barrier || in.op == Op::exit) {
      // Barrier 0 for all threads is the only one that Halide uses.
    } else {
      operands(in, split(rest, ','));
    }
    kernel_->code.push_back(std::move(in));
  }

  static void operand_count(const Instruction& in, size_t expected) {
    if (in.operands.size() != expected)
      fail("an instruction with " + std::to_string(in.operands.size()) + " operands");
  }

  void operands(Instruction& in, std::vector<std::string_view> parts) {
    if (in.op == Op::store) {
      in.to = list(parts.at(0));
      in.operands = list(parts.at(1));
      return;
    }
    if (in.op == Op::setp && parts.at(0).find('|') != std::string_view::npos)
      fail("setp with two results is not supported");
    in.to = list(parts.at(0));
    for (size_t i = 1; i < parts.size(); ++i)
      for (Operand& o : list(parts[i])) in.operands.push_back(o);
    if (in.op == Op::mov && in.to.size() > 1) in.op = Op::unpack;
    if (in.op == Op::mov && in.operands.size() > 1) in.op = Op::pack;
    static const std::map<Op, size_t> counts = {{Op::add, 2},    {Op::fma, 3}, {Op::selp, 3},
                                                {Op::mad_lo, 3}, {Op::shl, 2}, {Op::mov, 1}};
    if (const auto it = counts.find(in.op); it != counts.end()) operand_count(in, it->second);
  }

  void mnemonic(Instruction& in, const std::vector<std::string_view>& words) {
    const std::string_view name = words[0];
    const auto has = [&](std::string_view w) {
      return std::find(words.begin() + 1, words.end(), w) != words.end();
    };
    if (name == "mul") in.op = has("wide") ? Op::mul_wide : has("hi") ? Op::mul_hi : Op::mul_lo;
    else if (name == "mad") in.op = has("wide") ? Op::mad_wide : Op::mad_lo;
    else if (name == "madc") in.op = Op::mad_lo;
    else if (name == "addc") in.op = Op::add;
    else if (name == "shf") in.op = has("l") ? Op::shf_left : Op::shf_right;
    else if (const auto it = ops().find(name); it != ops().end()) in.op = it->second;
    else fail("instruction '" + std::string(name) + "' is not supported");
    in.carry_in = name == "madc" || name == "addc";
    in.carry_out = has("cc");
    in.high = in.op == Op::mad_lo && has("hi");
    if (in.carry_out && in.op != Op::add && in.op != Op::mad_lo)
      fail("a carry of '" + std::string(name) + "' is not supported");
    if ((name == "shf" && !has("wrap")) || (name == "prmt" && words.size() > 2))
      fail("this form of '" + std::string(name) + "' is not supported");
    if (in.op == Op::cvt && (has("rz") || has("rm") || has("rp")))
      fail("conversions that round other than to nearest are not supported");
    in.flush = has("ftz");
    in.saturate = has("sat");
    in.nan = has("NaN");
    in.round = has("rni")   ? Round::nearest_int
               : has("rzi") ? Round::zero_int
               : has("rmi") ? Round::down_int
               : has("rpi") ? Round::up_int
                            : Round::none;
    in.space = has("param")    ? Space::param
               : has("global") ? Space::global
               : has("shared") ? Space::shared
               : has("local")  ? Space::local
               : has("const")  ? Space::constant
                               : Space::generic;
    std::vector<Type> found;
    for (size_t i = 1; i < words.size(); ++i)
      if (const auto it = types().find(words[i]); it != types().end()) found.push_back(it->second);
    if (!found.empty()) in.type = in.from = found.front();
    if (in.op == Op::cvt) {
      if (found.size() != 2) fail("cvt with " + std::to_string(found.size()) + " types");
      in.from = found[1];
    }
    if (in.op != Op::setp) return;
    in.compare = comparisons().at(words.at(1));
    in.combine = has("and")   ? Combine::and_
                 : has("or")  ? Combine::or_
                 : has("xor") ? Combine::xor_
                              : Combine::none;
  }

 public:
  static constexpr uint64_t kConstants = uint64_t{6} << 60;

 private:
  const std::string_view text_;
  std::unique_ptr<Module> module_;
  Kernel* kernel_ = nullptr;
  bool header_ = false;
  int32_t line_ = 0, depth_ = 0;
  size_t shared_ = 0;
  std::unordered_map<std::string, uint64_t> globals_, symbols_;
  std::unordered_map<std::string, int32_t> registers_, labels_;
  std::vector<std::pair<size_t, std::string>> targets_;
};

}  // namespace

int bits_of(Type t) {
  switch (t) {
    case Type::pred: return 1;
    case Type::b8:
    case Type::u8:
    case Type::s8: return 8;
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::bf16:
    case Type::f16: return 16;
    case Type::b32:
    case Type::u32:
    case Type::s32:
    case Type::f32: return 32;
    default: return 64;
  }
}

std::unique_ptr<Module> parse(std::string_view text, std::string& problem) {
  Parser parser(text);
  try {
    return parser.run();
  } catch (const std::exception& e) {
    problem = "line " + std::to_string(parser.line()) + ": " + e.what();
    return nullptr;
  }
}

}  // namespace tintype::ptx
