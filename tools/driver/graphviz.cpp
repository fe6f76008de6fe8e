// Graphviz source of a graph, and running dot on it.
#include "tools/driver/graphviz.h"

#include "frontend/plot/history.h"
#include "ir/diagnostic.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_map>

namespace tintype {

namespace {

std::string escaped(const std::string& s) {
  std::string out;
  for (const char c : s) {
    if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '{' || c == '}' || c == '|')
      out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

std::string shortened(const std::string& s, size_t most) {
  return s.size() <= most ? s : s.substr(0, most - 1) + "…";
}

/// Fill by what dominates the cost of a region.
const char* colour_of(const Node& n) {
  if (n.body() == nullptr) return n.op().has(kView | kMovement) ? "#eeeeee" : "#f4d6a0";
  for (const auto& m : n.body()->nodes()) {
    if (m->op().has(kTileTransform)) return "#b7d9f2";
    if (m->op().has(kContraction)) return "#8fc1e8";
    if (m->op().has(kWindow)) return "#bfe3b4";
    if (m->op().has(kReduction)) return "#d9c7ec";
  }
  return "#f7efc0";
}

/// Ops of a region, with the window of convolutions: "conv 3x3/2 + add + relu".
std::string title_of(const Node& n) {
  if (n.body() == nullptr) return std::string(n.name());
  std::string title;
  for (const auto& m : n.body()->nodes()) {
    if (m->is("constant")) continue;
    if (!title.empty()) title += " + ";
    title += m->name();
    const auto window = m->attrs().integers("window");
    for (size_t i = 0; i < window.size(); ++i)
      title += (i == 0 ? " " : "x") + std::to_string(window[i]);
    const auto strides = m->attrs().integers("strides");
    if (!strides.empty() && strides[0] > 1) title += "/" + std::to_string(strides[0]);
  }
  return shortened(title, 60);
}

}  // namespace

std::string to_dot(const Graph& graph) {
  std::string s =
      "digraph g {\n  rankdir=TB; bgcolor=\"white\"; nodesep=0.35; ranksep=0.35;\n"
      "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, color=\"#555555\", margin=\"0.12,0.06\"];\n"
      "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#777777\", fontcolor=\"#555555\", arrowsize=0.6];\n";
  std::unordered_map<const Value*, std::string> source;
  for (const auto& v : graph.inputs()) {
    const std::string id = "in" + std::to_string(v->index());
    s += "  " + id + " [shape=ellipse, fillcolor=\"#ffffff\", label=\"" + escaped(v->name()) +
         "\\n" + escaped(v->type().text()) + "\"];\n";
    source[v.get()] = id;
  }
  int next = 0;
  for (const auto& n : graph.nodes()) {
    if (n->is("constant")) continue;
    const std::string id = "n" + std::to_string(next++);
    s += "  " + id + " [fillcolor=\"" + colour_of(*n) + "\", label=\"" + escaped(title_of(*n));
    if (!n->origins().empty())
      s += "\\n" + escaped(shortened(n->origins().front(), 48)) +
           (n->origins().size() > 1 ? " …" : "");
    s += "\", tooltip=\"" + escaped(n->where()) + "\"];\n";
    for (Value* v : n->operands())
      if (auto it = source.find(v); v != nullptr && it != source.end())
        s += "  " + it->second + " -> " + id + " [label=\"" + escaped(text_of(v->shape())) +
             "\"];\n";
    for (int i = 0; i < n->result_count(); ++i) source[n->result(i)] = id;
  }
  for (size_t i = 0; i < graph.output_count(); ++i) {
    const std::string id = "out" + std::to_string(i);
    s += "  " + id + " [shape=ellipse, fillcolor=\"#ffffff\", label=\"" +
         escaped(graph.output_name(i)) + "\\n" + escaped(graph.output(i)->type().text()) + "\"];\n";
    if (auto it = source.find(graph.output(i)); it != source.end())
      s += "  " + it->second + " -> " + id + ";\n";
  }
  return s + "}\n";
}

namespace {

/// A folder that is gone afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (std::filesystem::temp_directory_path() / "tintype-dot-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr)
      throw Error(path_ + ": cannot be made: " + std::strerror(errno));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void require(const Status& status) {
  if (!status.ok()) throw Error(status.message());
}

}  // namespace

void render_svg(const std::string& dot, const std::string& path) {
  const TemporaryFolder folder;
  const std::string source = folder.file("graph.dot"), picture = folder.file("graph.svg");
  require(save_text(dot, source));
  const pid_t child = fork();
  if (child == 0) {
    execlp("dot", "dot", "-Tsvg", "-o", picture.c_str(), source.c_str(),
           static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = -1;
  if (child > 0) waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    throw Error("drawing needs Graphviz; install the package graphviz, or use --dot");
  std::ostringstream drawn;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !(drawn << std::ifstream(picture).rdbuf()))
    throw Error(path + ": Graphviz failed to draw the graph");
  require(save_text(drawn.str(), path));
}

}  // namespace tintype
