// Ownership, use lists and order.
#include "ir/graph.h"

#include "ir/diagnostic.h"
#include "ir/node_numbers.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tintype {

void AttrMap::wrong_kind(std::string_view name) {
  throw InternalError("attribute '" + std::string(name) +
                      "' has another kind than its reader expects");
}

std::string_view name_of(AttrKind kind) {
  switch (kind) {
    case AttrKind::integer: return "integer";
    case AttrKind::number: return "number";
    case AttrKind::string: return "string";
    case AttrKind::integers: return "list of integers";
    case AttrKind::numbers: return "list of numbers";
    case AttrKind::strings: return "list of strings";
    case AttrKind::tensor: return "tensor";
    case AttrKind::dtype: return "element type";
    case AttrKind::dims: return "extents";
  }
  return "?";
}

const Tensor* Value::constant() const {
  if (def_ == nullptr || !def_->is("constant")) return nullptr;
  return std::get_if<Tensor>(def_->attrs().find("value"));
}

void Node::link(int i, Value* value) {
  Operand& slot = operands_[static_cast<size_t>(i)];
  slot.value = value;
  if (value == nullptr) return;
  slot.use = value->uses_.size();
  value->uses_.push_back({this, i});
}

void Node::unlink(int i) {
  Operand& slot = operands_[static_cast<size_t>(i)];
  if (slot.value == nullptr) return;
  std::vector<Use>& uses = slot.value->uses_;
  const size_t hole = slot.use;
  if (hole + 1 != uses.size()) {  // the last use moves into the hole and must know its new place
    uses[hole] = uses.back();
    uses[hole].node->operands_[static_cast<size_t>(uses[hole].operand)].use = hole;
  }
  uses.pop_back();
  slot.value = nullptr;
}

std::vector<Value*> Node::operands() const {
  std::vector<Value*> list;
  list.reserve(operands_.size());
  for (const Operand& o : operands_) list.push_back(o.value);
  return list;
}

void Node::set_operand(int i, Value* value) {
  unlink(i);
  link(i, value);
}

void Node::add_operand(Value* value) {
  operands_.emplace_back();
  link(operand_count() - 1, value);
}

void Node::erase_operand(int i) {
  unlink(i);
  operands_.erase(operands_.begin() + i);
  for (int k = i; k < operand_count(); ++k)
    if (Operand& slot = operands_[static_cast<size_t>(k)]; slot.value != nullptr)
      slot.value->uses_[slot.use].operand = k;
}

Value* Node::add_result(TensorType type) {
  auto v = std::make_unique<Value>();
  v->def_ = this;
  v->index_ = result_count();
  v->type_ = std::move(type);
  results_.push_back(std::move(v));
  return results_.back().get();
}

void Node::erase_result(int i) {
  const Value& v = *results_[static_cast<size_t>(i)];
  TINTYPE_CHECK(v.uses_.empty() && v.output_uses_ == 0,
                "erasing a result of " + where() + " that is used");
  results_.erase(results_.begin() + i);
  for (int k = i; k < result_count(); ++k) results_[static_cast<size_t>(k)]->index_ = k;
}

void Node::add_origins(const std::vector<std::string>& more) {
  std::unordered_set<std::string_view> known(origins_.begin(), origins_.end());
  std::vector<std::string> fresh;
  for (const std::string& o : more)
    if (known.insert(o).second) fresh.push_back(o);
  origins_.insert(origins_.end(), fresh.begin(), fresh.end());
}

std::string Node::where() const {
  if (origins_.empty()) return std::string(name());
  constexpr size_t kMost = 24;  // a loop may stand for thousands of nodes of the model
  std::string s;
  for (size_t i = 0; i < std::min(origins_.size(), kMost); ++i)
    s += (s.empty() ? "" : ", ") + origins_[i];
  if (origins_.size() > kMost) s += " and " + std::to_string(origins_.size() - kMost) + " more";
  return s;
}

void Node::add_body(std::unique_ptr<Graph> body) { bodies_.push_back(std::move(body)); }

Graph::~Graph() {
  // Nodes unlink from values when destroyed in reverse order; skip that work, everything goes.
  for (auto& n : nodes_) n->operands_.clear();
}

Value* Graph::add_input(std::string name, TensorType type) {
  auto v = std::make_unique<Value>();
  v->index_ = static_cast<int>(inputs_.size());
  v->type_ = std::move(type);
  v->name_ = std::move(name);
  for (const Dim& d : v->type_.shape)
    d.symbols([this](const std::string& s) { symbols_.insert(s); });
  inputs_.push_back(std::move(v));
  return inputs_.back().get();
}

void Graph::move_input(size_t from, size_t to) {
  auto moved = std::move(inputs_[from]);
  inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(from));
  inputs_.insert(inputs_.begin() + static_cast<std::ptrdiff_t>(to), std::move(moved));
  for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i]->index_ = static_cast<int>(i);
}

void Graph::erase_input(size_t i) {
  const Value* v = inputs_[i].get();
  TINTYPE_CHECK(v->uses_.empty() && v->output_uses_ == 0 && state_of(v) == nullptr,
                "erasing input '" + v->name() + "' that is used");
  inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(i));
  for (size_t k = i; k < inputs_.size(); ++k) inputs_[k]->index_ = static_cast<int>(k);
}

void Graph::add_output(std::string name, Value* value) {
  ++value->output_uses_;
  outputs_.emplace_back(std::move(name), value);
}

void Graph::set_output(int i, Value* value) {
  auto& slot = outputs_[static_cast<size_t>(i)].second;
  --slot->output_uses_;
  ++value->output_uses_;
  slot = value;
}

void Graph::erase_output(size_t i) {
  const int at = static_cast<int>(i);
  TINTYPE_CHECK(!is_next(at), "erasing the next value of a state");
  --outputs_[i].second->output_uses_;
  outputs_.erase(outputs_.begin() + at);
  for (State& s : states_)
    if (s.next > at) --s.next;
}

Value* Graph::add_state(std::string name, Tensor initial) {
  for (const auto& v : inputs_)
    if (v->name() == name) throw Error("there are two inputs or states named '" + name + "'");
  Shape shape(initial.dims().begin(), initial.dims().end());
  Value* current = add_input(name, {initial.dtype(), std::move(shape)});
  add_output(std::move(name), current);
  make_state(current, static_cast<int>(outputs_.size()) - 1, std::move(initial));
  return current;
}

void Graph::set_layout(const Value* state, Tensor initial, std::vector<int64_t> layout) {
  const auto it = std::find_if(states_.begin(), states_.end(),
                               [state](const State& s) { return s.current == state; });
  TINTYPE_CHECK(it != states_.end(), "set_layout of a value that is no state");
  it->current->set_type({initial.dtype(), Shape(initial.dims().begin(), initial.dims().end())});
  it->initial = std::move(initial);
  it->layout = std::move(layout);
}

void Graph::make_state(Value* input, int output, Tensor initial, std::vector<int64_t> layout) {
  const TensorType type = {initial.dtype(), Shape(initial.dims().begin(), initial.dims().end())};
  const Value* next = outputs_[static_cast<size_t>(output)].second;
  if (!(input->type() == type) || !(next->type() == type))
    throw Error("state '" + input->name() + "' starts as " + type.text() + ", is " +
                input->type().text() + " and becomes " + next->type().text());
  states_.push_back({input, output, std::move(initial), std::move(layout)});
}

void Graph::set_next(const Value* state, Value* next) {
  const State* s = state_of(state);
  TINTYPE_CHECK(s != nullptr, "set_next of a value that is no state");
  if (!(next->type() == state->type()))
    throw Error("state '" + state->name() + "' is " + state->type().text() + ", its next value " +
                next->type().text());
  set_output(s->next, next);
}

const State* Graph::state_of(const Value* input) const {
  for (const State& s : states_)
    if (s.current == input) return &s;
  return nullptr;
}

bool Graph::is_next(int output) const {
  return std::any_of(states_.begin(), states_.end(),
                     [output](const State& s) { return s.next == output; });
}

std::vector<Node*> Graph::node_list() const {
  std::vector<Node*> list;
  list.reserve(nodes_.size());
  for (const auto& n : nodes_) list.push_back(n.get());
  return list;
}

Node* Graph::create(const OpDef& op, std::vector<Value*> operands, AttrMap attrs, int result_count,
                    Node* before) {
  std::unique_ptr<Node> node(new Node());
  Node* n = node.get();
  n->op_ = &op;
  n->graph_ = this;
  n->attrs_ = std::move(attrs);
  n->operands_.resize(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) n->link(static_cast<int>(i), operands[i]);
  for (int i = 0; i < result_count; ++i) {
    auto v = std::make_unique<Value>();
    v->def_ = n;
    v->index_ = i;
    n->results_.push_back(std::move(v));
  }
  const auto where = before == nullptr ? nodes_.end() : before->position_;
  n->position_ = nodes_.insert(where, std::move(node));
  return n;
}

void Graph::move_before(Node* node, Node* before) {
  nodes_.splice(before == nullptr ? nodes_.end() : before->position_, nodes_, node->position_);
}

void Graph::replace_all_uses(Value* from, Value* to) {
  TINTYPE_CHECK(from != to, "replacing a value by itself");
  while (!from->uses_.empty()) {
    const Use u = from->uses_.back();
    u.node->set_operand(u.operand, to);
  }
  if (from->output_uses_ == 0) return;
  for (auto& [name, value] : outputs_)
    if (value == from) {
      value = to;
      --from->output_uses_;
      ++to->output_uses_;
    }
}

void Graph::erase(Node* node) {
  for (const auto& r : node->results_)
    TINTYPE_CHECK(r->uses_.empty() && r->output_uses_ == 0,
                  "erasing node " + node->where() + " whose result is used");
  for (int i = 0; i < node->operand_count(); ++i) node->unlink(i);
  nodes_.erase(node->position_);
}

Node* Graph::next(Node* node) const {
  auto it = std::next(node->position_);
  return it == nodes_.end() ? nullptr : it->get();
}

void Graph::sort() {
  // Kahn's algorithm with a queue ordered by previous position keeps the result stable.
  const NodeNumbers numbers(*this);
  const std::vector<Node*> all = node_list();
  std::vector<int> missing(all.size(), 0);
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  for (uint32_t i = 0; i < all.size(); ++i) {
    for (const auto& o : all[i]->operands_)
      if (o.value != nullptr && o.value->def_ != nullptr) ++missing[i];
    if (missing[i] == 0) ready.push(i);
  }
  size_t done = 0;
  while (!ready.empty()) {
    const Node* n = all[ready.top()];
    ready.pop();
    nodes_.splice(nodes_.end(), nodes_, n->position_);
    ++done;
    for (const auto& r : n->results_)
      for (const Use& u : r->uses_)
        if (const uint32_t user = numbers.of(u.node); --missing[user] == 0) ready.push(user);
  }
  TINTYPE_CHECK(done == all.size(), "graph '" + name_ + "' has a cycle");
}

void Graph::require_equal(const Dim& left, const Dim& right, const std::string& message) {
  if (left == right) return;
  for (const DimConstraint& c : constraints_)
    if ((c.left == left && c.right == right) || (c.left == right && c.right == left)) return;
  constraints_.push_back({left, right, message});
}

std::string Graph::fresh_symbol(const std::string& stem) {
  std::string name = stem;
  for (int i = 0; symbols_.count(name) != 0; ++i) name = stem + "_" + std::to_string(i);
  symbols_.insert(name);
  return name;
}

std::unique_ptr<Graph> Graph::clone() const {
  auto copy = std::make_unique<Graph>(name_);
  std::unordered_map<const Value*, Value*> map;
  auto copy_value = [&map](const Value* from, Value* to) {
    to->set_type(from->type());
    to->set_name(from->name());
    to->set_content(from->content());
    map[from] = to;
  };
  for (const auto& v : inputs_) copy_value(v.get(), copy->add_input(v->name(), v->type()));
  for (const auto& n : nodes_) {
    std::vector<Value*> operands;
    for (Value* v : n->operands()) operands.push_back(v == nullptr ? nullptr : map.at(v));
    Node* m = copy->create(n->op(), std::move(operands), n->attrs(), n->result_count());
    m->set_origins(n->origins());
    for (int i = 0; i < n->body_count(); ++i) m->add_body(n->body(i)->clone());
    for (int i = 0; i < n->result_count(); ++i) copy_value(n->result(i), m->result(i));
  }
  for (const auto& [name, value] : outputs_) copy->add_output(name, map.at(value));
  for (const State& s : states_)
    copy->states_.push_back({map.at(s.current), s.next, s.initial, s.layout});
  copy->constraints_ = constraints_;
  copy->symbols_ = symbols_;
  return copy;
}

}  // namespace tintype
