// Parser of pattern files.
//
//   file       = { "pattern" NAME [TEXT] "{" statement { [";"] statement } "}" "=>" replacement }
//   statement  = names "=" call [ "where" expression ]
//   names      = name { "," name }                          name "_" is not kept
//   call       = OP { "|" OP } "(" [ operand { "," operand } ] ")"
//   operand    = name [ "?" ] | number | "none" | call | "..."
//   replacement = made | "{" made { [";"] made } "}"
//   made       = names "=" ( name | OP "(" ... ")" [ attributes ] | constant )
//   constant   = "constant" "(" expression "," expression ")"
//   attributes = "{" [ "..." name [","] ] { NAME "=" expression [","] } "}"
#include "ir/diagnostic.h"
#include "ir/nearest_op.h"
#include "passes/pattern/expression_parser.h"
#include "passes/pattern/pattern.h"

#include <algorithm>
#include <map>
#include <set>

namespace tintype::pattern {

namespace {

class Parser {
 public:
  Parser(std::string_view source, const std::string& file)
      : source_(source), in_(scan(source, file), file) {}

  std::vector<std::unique_ptr<Pattern>> run() {
    std::vector<std::unique_ptr<Pattern>> all;
    while (!in_.at_end()) {
      all.push_back(pattern());
      for (size_t i = 0; i + 1 < all.size(); ++i)
        if (all[i]->name == all.back()->name)
          fail_at(in_.file(), all.back()->at,
                  "there are two patterns named '" + all.back()->name + "'");
    }
    if (all.empty()) in_.fail("expected 'pattern'");
    return all;
  }

 private:
  std::unique_ptr<Pattern> pattern() {
    auto p = std::make_unique<Pattern>();
    p_ = p.get();
    names_ = {};
    nodes_ = {};
    p->file = in_.file();
    const size_t begin = in_.peek().begin;
    in_.expect("pattern");
    p->at = in_.peek().at;
    p->name = pass_name();
    if (in_.peek().kind == Token::Kind::text) p->summary = in_.next().text;
    in_.expect("{");
    while (!in_.accept("}")) statement();
    if (nodes_.empty()) fail_at(in_.file(), p->at, "the pattern has no nodes");
    order_nodes();
    place_conditions();
    in_.expect("=>");
    replacement();
    p->source = std::string(source_.substr(begin, in_.previous().end - begin));
    if (p->summary.empty()) p->summary = "pattern of " + in_.file();
    return p;
  }

  std::string pass_name() {
    const Token& t = in_.expect_name("a name for the pattern");
    const auto fits = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (!std::all_of(t.text.begin(), t.text.end(), fits))
      fail_at(in_.file(), t.at,
              "a pattern is named like a pass, in small letters, digits and '-', got '" + t.text +
                  "'");
    return t.text;
  }

  // ---- names ---------------------------------------------------------------------------------

  int new_value(const std::string& name) {
    p_->value_names.push_back(name);
    return static_cast<int>(p_->value_names.size()) - 1;
  }

  /// The number of a name, which a pattern's operand may introduce.
  int value_of(const std::string& name) {
    const auto [it, fresh] = names_.emplace(name, -1);
    if (fresh) it->second = new_value(name);
    return it->second;
  }

  int known_value(const Token& t) const {
    const auto it = names_.find(t.text);
    if (it != names_.end()) return it->second;
    std::vector<std::string> known;
    for (const auto& [name, number] : names_) known.push_back(name);
    fail_at(in_.file(), t.at, "'" + t.text + "' is not defined" + did_you_mean(t.text, known));
  }

  const OpDef* op_named(const Token& t) const {
    if (const OpDef* def = find_op(t.text)) return def;
    fail_at(in_.file(), t.at, "there is no op '" + t.text + "'" + nearest_op(t.text));
  }

  std::vector<Token> result_names() {
    std::vector<Token> list;
    do list.push_back(in_.expect_name("a name for a result"));
    while (in_.accept(","));
    in_.expect("=");
    return list;
  }

  // ---- what is looked for --------------------------------------------------------------------

  void statement() {
    const std::vector<Token> results = result_names();
    NodePattern n = call();
    for (const Token& t : results) {
      if (t.text == "_") {
        n.results.push_back(-1);
        continue;
      }
      const int v = value_of(t.text);
      if (!ops_of(v).empty())
        fail_at(in_.file(), t.at, "'" + t.text + "' is the result of two nodes");
      n.results.push_back(v);
    }
    check_results(n.at, n.ops, n.results.size());
    nodes_.push_back(std::move(n));
    if (in_.accept("where")) where();
    in_.accept(";");
  }

  /// The parts of a conjunction are conditions of their own, so that explanations can name the
  /// one that fails.
  void where() { add_conditions(expression()); }

  void add_conditions(Expression e) {
    if (e.kind == Expression::Kind::binary && e.name == "and") {
      add_conditions(std::move(e.arguments[0]));
      add_conditions(std::move(e.arguments[1]));
      return;
    }
    std::string text(source_.substr(e.begin, e.end - e.begin));
    std::replace(text.begin(), text.end(), '\n', ' ');
    conditions_.push_back({std::move(e), std::move(text)});
  }

  Expression expression() {
    return parse_expression(
        in_, [this](const Token& t) { return known_value(t); },
        [this](int v) { return ops_of(v); });
  }

  /// The ops that may compute a tensor; empty for one that is only captured.
  std::vector<const OpDef*> ops_of(int v) const {
    for (const NodePattern& n : nodes_)
      if (std::find(n.results.begin(), n.results.end(), v) != n.results.end()) return n.ops;
    for (const NodePattern& n : p_->nodes)
      if (std::find(n.results.begin(), n.results.end(), v) != n.results.end()) return n.ops;
    return {};
  }

  NodePattern call() {
    NodePattern n;
    n.at = in_.peek().at;
    do n.ops.push_back(op_named(in_.expect_name("an op")));
    while (in_.accept("|"));
    in_.expect("(");
    if (!in_.accept(")")) {
      do {
        if (in_.accept("...")) {
          n.more_operands = true;
          break;
        }
        n.operands.push_back(operand());
      } while (in_.accept(","));
      in_.expect(")");
    }
    for (const OpDef* def : n.ops) check_operands(n.at, *def, n.operands.size(), n.more_operands);
    return n;
  }

  OperandPattern operand() {
    OperandPattern o;
    if (in_.at_number()) {
      o.kind = OperandPattern::Kind::number;
      o.number = in_.number();
      return o;
    }
    const Token& t = in_.peek();
    if (t.kind == Token::Kind::name && (in_.peek(1).text == "(" || in_.peek(1).text == "|")) {
      if (++depth_ > kMaxDepth) in_.fail("this pattern is nested too deeply");
      NodePattern nested = call();
      --depth_;
      o.value = new_value("");
      nested.results = {o.value};
      nodes_.push_back(std::move(nested));
      return o;
    }
    const Token name = in_.expect_name("an operand");
    if (name.text == "none") {
      o.kind = OperandPattern::Kind::none;
      return o;
    }
    o.value = name.text == "_" ? new_value("") : value_of(name.text);
    o.optional = in_.accept("?");
    return o;
  }

  void check_operands(Place at, const OpDef& def, size_t count, bool more) const {
    const auto n = static_cast<int>(count);
    const bool too_many = def.max_operands >= 0 && n > def.max_operands;
    if (!too_many && (more || n >= def.min_operands)) return;
    std::string expected = std::to_string(def.min_operands);
    if (def.max_operands < 0) expected += " or more";
    else if (def.max_operands != def.min_operands)
      expected += " to " + std::to_string(def.max_operands);
    fail_at(in_.file(), at,
            std::string(def.name) + " takes " + expected +
                (expected == "1" ? " operand" : " operands") + ", got " + std::to_string(n));
  }

  void check_results(Place at, const std::vector<const OpDef*>& ops, size_t count) const {
    for (const OpDef* def : ops)
      if (def->max_results >= 0 && static_cast<int>(count) > def->max_results)
        fail_at(in_.file(), at,
                std::string(def->name) + " has at most " + std::to_string(def->max_results) +
                    " results, got " + std::to_string(count));
  }

  /// The last node is the root; every other one follows as soon as it shares a tensor with those
  /// before it.
  void order_nodes() {
    std::set<int> bound;
    const auto bind = [&bound](const NodePattern& n) {
      bound.insert(n.results.begin(), n.results.end());
      for (const OperandPattern& o : n.operands)
        if (o.kind == OperandPattern::Kind::value) bound.insert(o.value);
    };
    const auto touches = [&bound](const NodePattern& n) {
      const auto is_bound = [&bound](int v) { return v >= 0 && bound.count(v) != 0; };
      return std::any_of(n.results.begin(), n.results.end(), is_bound) ||
             std::any_of(n.operands.begin(), n.operands.end(), [&](const OperandPattern& o) {
               return o.kind == OperandPattern::Kind::value && is_bound(o.value);
             });
    };
    std::vector<NodePattern> rest = std::move(nodes_);
    nodes_ = {};
    const auto take = [&](std::vector<NodePattern>::iterator it) {
      bind(*it);
      p_->nodes.push_back(std::move(*it));
      rest.erase(it);
    };
    take(rest.end() - 1);
    while (!rest.empty()) {
      const auto it = std::find_if(rest.begin(), rest.end(), touches);
      if (it == rest.end())
        fail_at(in_.file(), rest.front().at,
                "this node shares no tensor with the others, so it cannot be found");
      take(it);
    }
  }

  /// A condition is decided after the first node by which all its tensors are known: a result when
  /// its own node is matched, so that no condition is blamed on a node of another op.
  void place_conditions() {
    for (Condition& c : conditions_) {
      std::set<int> missing;
      for_each_value(c.test, [&missing](int v) { missing.insert(v); });
      size_t at = 0;
      for (; at < p_->nodes.size(); ++at) {
        for (int v : p_->nodes[at].results) missing.erase(v);
        for (const OperandPattern& o : p_->nodes[at].operands)
          if (o.value >= 0 && ops_of(o.value).empty()) missing.erase(o.value);
        if (missing.empty()) break;
      }
      TINTYPE_CHECK(at < p_->nodes.size(), "a condition of a pattern mentions an unknown tensor");
      p_->nodes[at].conditions.push_back(std::move(c));
    }
    conditions_.clear();
  }

  // ---- what takes its place ------------------------------------------------------------------

  void replacement() {
    made_ = {};
    if (in_.accept("{")) {
      while (!in_.accept("}")) {
        made();
        in_.accept(";");
      }
    } else {
      made();
    }
    if (p_->replacements.empty())
      fail_at(in_.file(), p_->at,
              "nothing is replaced: one of the new results must have the name of a matched one");
  }

  void made() {
    const Place at = in_.peek().at;
    const std::vector<Token> results = result_names();
    NodeTemplate t;
    const bool is_call = in_.peek(1).text == "(" && in_.peek().text != "constant";
    if (is_call) {
      t = template_call();
    } else {
      t.at = at;
      const Token& of = in_.peek();
      if (of.text == results[0].text) in_.fail("'" + of.text + "' would take its own place");
      t.operands.push_back(template_operand());
      if (results.size() != 1) fail_at(in_.file(), at, "one tensor cannot become two results");
    }
    for (const Token& r : results) {
      const int v = new_value(r.text);
      t.results.push_back(v);
      replace(r, v);
    }
    if (t.op != nullptr) check_results(t.at, {t.op}, t.results.size());
    p_->templates.push_back(std::move(t));
  }

  /// A new result named like a result of a matched node takes its place; others are new names.
  void replace(const Token& name, int now) {
    if (!made_.emplace(name.text, now).second)
      fail_at(in_.file(), name.at, "'" + name.text + "' is made twice");
    const auto it = names_.find(name.text);
    if (it == names_.end()) return;
    const int old = it->second;
    if (ops_of(old).empty())
      fail_at(in_.file(), name.at,
              "'" + name.text + "' is an operand of the pattern, only results can be replaced");
    p_->replacements.push_back({old, now});
  }

  NodeTemplate template_call() {
    NodeTemplate t;
    t.at = in_.peek().at;
    t.op = op_named(in_.expect_name("an op"));
    in_.expect("(");
    if (!in_.accept(")")) {
      do t.operands.push_back(template_operand());
      while (in_.accept(","));
      in_.expect(")");
    }
    check_operands(t.at, *t.op, t.operands.size(), false);
    if (in_.accept("{")) attributes(t);
    for (const AttrDef& a : t.op->attrs)
      if (a.required && t.attributes_of < 0 &&
          std::none_of(t.attributes.begin(), t.attributes.end(),
                       [&a](const auto& given) { return given.def == &a; }))
        fail_at(in_.file(), t.at,
                std::string(t.op->name) + " needs attribute '" + std::string(a.name) + "'");
    return t;
  }

  void attributes(NodeTemplate& t) {
    if (in_.accept("...")) {
      const Token& of = in_.expect_name("the name of a matched result");
      t.attributes_of = known_value(of);
      if (ops_of(t.attributes_of).empty())
        fail_at(in_.file(), of.at,
                "'" + of.text +
                    "' is an operand of the pattern; only matched nodes have attributes");
      in_.accept(",");
    }
    while (!in_.accept("}")) {
      const Token name = in_.expect_name("an attribute");
      NodeTemplate::Attribute a{name.at, find_attribute(*t.op, name), {}};
      in_.expect("=");
      a.value = expression();
      t.attributes.push_back(std::move(a));
      in_.accept(",");
    }
  }

  const AttrDef* find_attribute(const OpDef& def, const Token& name) const {
    std::vector<std::string> known;
    for (const AttrDef& a : def.attrs) {
      if (a.name == name.text) return &a;
      known.emplace_back(a.name);
    }
    fail_at(in_.file(), name.at,
            std::string(def.name) + " has no attribute '" + name.text + "'" +
                did_you_mean(name.text, known));
  }

  OperandTemplate template_operand() {
    OperandTemplate o;
    o.at = in_.peek().at;
    if (in_.at_number()) {
      o.kind = OperandTemplate::Kind::number;
      o.number = in_.number();
      return o;
    }
    if (in_.peek(1).text == "(") {
      if (in_.peek().text == "constant") return constant(o);
      if (++depth_ > kMaxDepth) in_.fail("this replacement is nested too deeply");
      NodeTemplate nested = template_call();
      --depth_;
      o.value = new_value("");
      nested.results = {o.value};
      p_->templates.push_back(std::move(nested));
      return o;
    }
    const Token& name = in_.expect_name("an operand");
    if (name.text == "none") o.kind = OperandTemplate::Kind::none;
    else if (const auto it = made_.find(name.text); it != made_.end()) o.value = it->second;
    else o.value = known_value(name);
    return o;
  }

  /// constant(dtype, elements)
  OperandTemplate constant(OperandTemplate o) {
    o.kind = OperandTemplate::Kind::constant;
    in_.next();
    in_.expect("(");
    o.dtype = expression();
    in_.expect(",");
    o.elements = expression();
    in_.expect(")");
    return o;
  }

  using Names = std::map<std::string, int>;
  static constexpr int kMaxDepth = 100;

  std::string_view source_;
  TokenReader in_;
  Pattern* p_ = nullptr;
  Names names_;  ///< of the nodes to find
  Names made_;   ///< of what replaces them
  std::vector<NodePattern> nodes_;
  std::vector<Condition> conditions_;
  int depth_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Pattern>> parse_patterns(std::string_view source,
                                                     const std::string& file) {
  return Parser(source, file).run();
}

}  // namespace tintype::pattern
