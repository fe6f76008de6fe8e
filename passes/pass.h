// What a pass is, and what it may know and say while it runs.
#pragma once

#include "ir/graph.h"

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

struct Pass;
namespace pattern {
struct Pattern;
}

/// One candidate that a pass looked at.
struct Explanation {
  std::string_view pass;
  /// Model nodes the candidate came from, behind those of the loops and branches that it is in:
  /// "loop > act", "choice (else) > act".
  std::string origin;
  bool matched;        ///< rewritten, or left alone
  std::string reason;  ///< what was done, or why nothing was
};

using ExplainSink = std::function<void(const Explanation&)>;

/// The option values of one pass in a pipeline, and where its explanations go.
class PassContext {
 public:
  PassContext() = default;
  PassContext(const Pass& pass, std::map<std::string, std::string> options, ExplainSink explain)
      : pass_(&pass), options_(std::move(options)), explain_(std::move(explain)) {}

  /// The pass that runs; only inside one that a pipeline runs.
  const Pass& pass() const { return *pass_; }

  /// The option's value; throws Error when it is not a number.
  int64_t integer(std::string_view option, int64_t fallback) const;
  /// True for 1, true, on; false for 0, false, off; throws Error for anything else.
  bool flag(std::string_view option, bool fallback) const;
  std::string text(std::string_view option, const std::string& fallback) const;
  /// Values of symbols, written N:8;H:224; throws Error when malformed.
  std::map<std::string, int64_t> extents(std::string_view option) const;

  void matched(const Node& node, const std::string& what) const { say(node, true, what); }
  void declined(const Node& node, const std::string& why) const { say(node, false, why); }
  /// The graph is the body of a loop or branch.
  bool in_body() const { return !inside_.empty(); }

  /// True when somebody listens; building long reasons can be skipped otherwise.
  bool explaining() const { return explain_ != nullptr; }

  /// Until it is destroyed, nodes that the context speaks of are in a body of this control node.
  class Inside {
   public:
    Inside(PassContext& context, const Node& control, int body);
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    PassContext& context_;
    size_t before_;
  };

 private:
  const std::string* find(std::string_view option) const;
  void say(const Node& node, bool matched, const std::string& reason) const;

  std::string_view pass_name() const;

  const Pass* pass_ = nullptr;
  std::map<std::string, std::string> options_;
  ExplainSink explain_;
  std::string inside_;  ///< what the names of nodes begin with
};

struct PassOption {
  std::string_view name;
  std::string_view fallback;  ///< as text, for the help
  std::string_view doc;
};

/// A rewrite of a whole graph. The pass manager runs it on the bodies of loops and branches, too.
struct Pass {
  std::string_view name;  ///< "fold-batch-norm", of the file fold_batch_norm.cpp
  std::string_view summary;
  std::span<const PassOption> options;
  /// True when the graph changed. Throws Error for mistakes of the model or the options.
  bool (*run)(Graph&, PassContext&);
  const pattern::Pattern* pattern = nullptr;  ///< what a pass of a pattern file rewrites
};

/// All passes, by name.
std::vector<const Pass*> all_passes();
/// The pass; throws Error with the nearest name when there is none.
const Pass& find_pass(std::string_view name);
/// Adds passes of other libraries and of plugins; the table must live until the program ends.
/// Throws Error when a name is taken. Thread-safe.
void register_passes(std::span<const Pass> passes);

}  // namespace tintype
