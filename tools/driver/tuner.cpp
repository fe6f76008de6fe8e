// Programs with other algorithms, their times against the untuned one, and what follows from them.
#include "tools/driver/tuner.h"

#include "ir/diagnostic.h"
#include "runtime/session.h"
#include "tools/driver/pipeline.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <set>

namespace tintype {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int kLeastRounds = 5, kMostRounds = 9;             // to explore
constexpr int kLeastCheckRounds = 7, kMostCheckRounds = 15;  // to check what won
constexpr int kMostChecks = 4;
constexpr double kSampleSeconds = 0.004;  // runs of a round take so long at least
constexpr double kLeastGain = 0.01;       // less is not worth another algorithm
constexpr double kSmallShare = 0.003;     // of a run: nodes below are too short to measure
constexpr double kErrors = 3;             // standard errors that a gain has to exceed

// ---- tags -------------------------------------------------------------------------------------

/// Origins go from nodes to the steps that come of them, so a tag among them tells what a step
/// belongs to; nodes of a gradient share their other origins with those of the forward pass.
constexpr std::string_view kTag = "\x1ftune";

std::vector<int> tags_in(const std::string& origins) {
  std::vector<int> tags;
  for (size_t at = origins.find(kTag); at != std::string::npos; at = origins.find(kTag, at + 1))
    tags.push_back(std::atoi(origins.c_str() + at + kTag.size()));
  return tags;
}

/// A message or a name without tags.
std::string without_tags(std::string text) {
  for (size_t at = text.find(kTag); at != std::string::npos; at = text.find(kTag)) {
    size_t end = at + kTag.size();
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    const size_t begin = at >= 2 && text.compare(at - 2, 2, ", ") == 0 ? at - 2 : at;
    text.erase(begin, end - begin);
  }
  return text;
}

/// The graph, and the bodies of its loops and branches, as passes see them.
void on_all_graphs(Graph& graph, const std::function<void(Graph&)>& work) {
  work(graph);
  for (Node* n : graph.node_list())
    if (n->op().has(kControl))
      for (int i = 0; i < n->body_count(); ++i) on_all_graphs(*n->body(i), work);
}

void add_tags(Graph& graph) {
  int next = 0;
  on_all_graphs(graph, [&next](Graph& g) {
    for (Node* n : g.node_list())
      if (n->op().has(kContraction) || n->is("conv_weight_gradient"))
        n->add_origins({std::string(kTag) + std::to_string(next++)});
  });
}

// ---- statistics -------------------------------------------------------------------------------

double median(std::vector<double> list) {
  const size_t middle = list.size() / 2;
  std::nth_element(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(middle), list.end());
  return list[middle];
}

/// Times of a round against those of the untuned program in the same round.
struct Ratio {
  double middle = 1, error = 0;  ///< median, and the standard error of it
  double ms = 0, untuned_ms = 0;

  bool wins() const { return middle < 1 - kLeastGain && middle + kErrors * error < 1; }
};

Ratio ratio_of(const std::vector<double>& ms, const std::vector<double>& untuned) {
  std::vector<double> ratios, apart;
  for (size_t i = 0; i < ms.size(); ++i) ratios.push_back(ms[i] / std::max(untuned[i], 1e-9));
  Ratio r;
  r.middle = median(ratios);
  for (const double x : ratios) apart.push_back(std::abs(x - r.middle));
  // The median of n normally distributed numbers has 1.2533 times the error of their mean, and
  // their deviation is 1.4826 times the median distance from the median.
  r.error = 1.2533 * 1.4826 * median(apart) / std::sqrt(static_cast<double>(ms.size()));
  r.ms = median(ms);
  r.untuned_ms = median(untuned);
  return r;
}

// ---- programs ---------------------------------------------------------------------------------

/// A compiled program and a session of it.
class Candidate {
 public:
  Candidate(CompiledModel model, const TuneOptions& options)
      : model_(std::move(model)), inputs_(options.inputs(model_.model)) {
    run_.threads = options.compile.threads;
    Result<Session> session = Session::create(model_.model);
    if (!session.ok()) throw Error(session.status().message());
    session_.emplace(std::move(session).value());
    for (const Step& s : model_.model.program().steps) tags_.push_back(tags_in(s.origin));
  }

  /// Milliseconds of each step, by number, as the mean of so many runs behind an uncounted one.
  std::vector<double> step_times(int runs) {
    const auto times = session_->profile(std::span<const Tensor>(inputs_), runs, run_);
    if (!times.ok()) throw Error(times.status().message());
    std::vector<double> ms(tags_.size());
    for (const StepTime& t : times.value()) ms[static_cast<size_t>(t.step)] += t.milliseconds;
    return ms;
  }
  /// Milliseconds of a run, as the mean of so many behind an uncounted one.
  double run_time(int runs) {
    once();
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) once();
    return 1e3 * seconds_since(start) / runs;
  }
  /// Of the steps that have one of the tags.
  double time_of(const std::set<int>& tags, const std::vector<double>& ms) const {
    double sum = 0;
    for (size_t i = 0; i < ms.size(); ++i)
      if (std::any_of(tags_[i].begin(), tags_[i].end(), [&](int t) { return tags.count(t) != 0; }))
        sum += ms[i];
    return sum;
  }

 private:
  void once() {
    const auto r = session_->run(std::span<const Tensor>(inputs_), run_);
    if (!r.ok()) throw Error(r.status().message());
  }

  CompiledModel model_;
  std::vector<Tensor> inputs_;
  RunOptions run_;
  std::optional<Session> session_;
  std::vector<std::vector<int>> tags_;  ///< by step
};

/// A key of the model: its nodes, what was tried for them, and what is left to try.
struct Site {
  TunedNode node;
  std::set<int> tags;
  std::vector<Algorithm> candidates;
  std::deque<Algorithm> queue;
  std::vector<std::pair<Algorithm, Ratio>> tried;
  bool known = false;

  /// The fastest that was tried, if it is faster than the untuned one.
  const std::pair<Algorithm, Ratio>* best() const {
    const auto it = std::min_element(tried.begin(), tried.end(), [](const auto& a, const auto& b) {
      return a.second.middle < b.second.middle;
    });
    return it == tried.end() || it->second.middle >= 1 ? nullptr : &*it;
  }
};

class Tuner {
 public:
  Tuner(std::unique_ptr<Graph> graph, const TuneOptions& options)
      : options_(options), graph_(std::move(graph)), start_(Clock::now()) {}

  TuneReport run() {
    prepare();
    find_sites();
    for (Site& s : sites_) queue_families(s);
    explore();
    for (Site& s : sites_) queue_panels(s);
    explore();
    decide();
    finish_report();
    return std::move(report_);
  }

 private:
  // ---- programs -----------------------------------------------------------------------------

  /// Passes up to the choice of algorithms run once; those behind it for every program.
  void prepare() {
    CompileOptions compile = options_.compile;
    compile.tuning.clear();
    for (const auto& v : graph_->inputs())
      if (!v->shape().empty())
        if (const auto name = v->shape()[0].symbol_name())
          compile.hints.emplace(*name, compile.batch);
    const PassPipeline pipeline = pipeline_for(compile);
    const auto select = std::find_if(pipeline.rbegin(), pipeline.rend(), [](const PassStep& step) {
      return step.pass->name == "select-algorithms";
    });
    if (select == pipeline.rend() || select == pipeline.rbegin())
      throw Error("tuning needs a pipeline with select-algorithms and passes behind it");
    PipelineOptions passes;
    passes.disabled = compile.disabled_passes;
    run_pipeline(*graph_, PassPipeline(pipeline.begin(), select.base() - 1), passes);
    add_tags(*graph_);
    select_ = select_options(PassContext(*select->pass, select->options, nullptr));
    report_.setting = tuning_setting(select_, compile.threads);
    compile.passes = text_of(PassPipeline(select.base(), pipeline.end()));
    compile_ = std::move(compile);
  }

  std::unique_ptr<Candidate> build(const Tuning& choices,
                                   const std::function<void(const Decision&)>& decided = nullptr) {
    std::unique_ptr<Graph> graph = graph_->clone();
    SelectAlgorithmsOptions select = select_;
    select.tuning = &choices;
    select.decided = decided;
    on_all_graphs(*graph, [&](Graph& g) { select_algorithms(g, select); });
    ++report_.programs;
    return std::make_unique<Candidate>(compile_graph(std::move(graph), compile_), options_);
  }

  /// Nodes in the order of their share of a run.
  void find_sites() {
    std::map<std::string, size_t> by_key;
    untuned_ = build({}, [&](const Decision& d) {
      if (d.candidates.size() < 2) return;
      const auto [it, added] = by_key.emplace(d.key, sites_.size());
      if (added) sites_.emplace_back();
      Site& s = sites_[it->second];
      s.node.key = d.key;
      s.node.names.push_back(without_tags(d.node->where()));
      s.node.candidates = static_cast<int>(d.candidates.size());
      s.node.untuned = s.node.choice = d.reckoned;
      s.candidates = d.candidates;
      for (const int t : tags_in(d.node->where())) s.tags.insert(t);
    });
    const double once = untuned_->run_time(1) / 1e3;
    runs_ = std::clamp(static_cast<int>(kSampleSeconds / std::max(once, 1e-6)), 1, 200);
    // A round is two runs of each of two programs. Slow models have fewer of them.
    const double round = 4 * once * runs_;
    rounds_ =
        std::clamp(static_cast<int>(0.08 * options_.seconds / round), kLeastRounds, kMostRounds);
    check_rounds_ = std::clamp(static_cast<int>(0.15 * options_.seconds / round), kLeastCheckRounds,
                               kMostCheckRounds);
    const std::vector<double> ms = untuned_->step_times(3 * runs_);
    const double all = std::accumulate(ms.begin(), ms.end(), 0.0);
    for (Site& s : sites_) s.node.untuned_ms = s.node.ms = untuned_->time_of(s.tags, ms);
    std::stable_sort(sites_.begin(), sites_.end(), [](const Site& a, const Site& b) {
      return a.node.untuned_ms > b.node.untuned_ms;
    });
    while (!sites_.empty() && sites_.back().node.untuned_ms < kSmallShare * all) {
      report_.too_short += static_cast<int>(sites_.back().node.names.size());
      sites_.pop_back();
    }
    const Tuning known = options_.known ? options_.known(report_.setting) : Tuning();
    for (Site& s : sites_) {
      const auto it = known.find(s.node.key);
      s.known = it != known.end() && it->second.reckoned == s.node.untuned;
      if (s.known && !(it->second.choice == s.node.untuned))
        s.tried.emplace_back(it->second.choice, Ratio{.middle = 0.5});  // to be checked
    }
  }

  // ---- what to try --------------------------------------------------------------------------

  static void queue_families(Site& s) {
    if (s.known) return;
    std::vector<Algorithm> seen = {s.node.untuned};
    for (const Algorithm& a : s.candidates) {
      const bool new_one = std::none_of(seen.begin(), seen.end(),
                                        [&](const Algorithm& b) { return a.same_family(b); });
      if (!new_one) continue;
      seen.push_back(a);
      s.queue.push_back(a);
    }
  }

  static void queue_panels(Site& s) {
    if (s.known || !s.queue.empty()) return;
    const auto* best = s.best();
    const Algorithm family = best != nullptr ? best->first : s.node.untuned;
    for (const Algorithm& a : s.candidates)
      if (a.same_family(family) && !(a == family) && !(a == s.node.untuned)) s.queue.push_back(a);
  }

  bool over() const {
    return (options_.stop && options_.stop()) ||
           seconds_since(start_) + reserve_ > options_.seconds;
  }

  void tell_progress(double share) const {
    if (!options_.progress) return;
    options_.progress(
        {share, std::max(0.0, options_.seconds - seconds_since(start_)), report_.programs});
  }

  /// Tries what is queued, one of every node at a time; those that share steps take turns.
  void explore() {
    size_t all = 0, done = 0;
    for (const Site& s : sites_) all = std::max(all, s.queue.size());
    while (!over()) {
      Tuning choices;
      std::vector<Site*> tried;
      std::set<int> taken;
      for (Site& s : sites_) {
        const bool apart =
            std::none_of(s.tags.begin(), s.tags.end(), [&](int t) { return taken.count(t) != 0; });
        if (s.queue.empty() || !apart) continue;
        taken.insert(s.tags.begin(), s.tags.end());
        choices[s.node.key] = {.choice = s.queue.front(), .reckoned = s.node.untuned};
        tried.push_back(&s);
      }
      if (tried.empty()) return;
      const auto begin = Clock::now();
      const std::unique_ptr<Candidate> candidate = build(choices);
      const std::vector<Ratio> ratios = compare(*candidate, tried, rounds_);
      for (size_t i = 0; i < tried.size(); ++i) {
        tried[i]->tried.emplace_back(tried[i]->queue.front(), ratios[i]);
        tried[i]->queue.pop_front();
      }
      // Winners are checked with more rounds, perhaps several times.
      reserve_ = std::max(reserve_, 2.5 * seconds_since(begin));
      tell_progress(std::min(1.0, static_cast<double>(++done) /
                                      static_cast<double>(std::max<size_t>(all, 1))));
    }
  }

  /// The steps of each site in a program, against those in the untuned one.
  std::vector<Ratio> compare(Candidate& candidate, const std::vector<Site*>& sites, int rounds) {
    std::vector<std::vector<double>> ms(sites.size()), untuned(sites.size());
    for (int round = 0; round < rounds; ++round) {
      // Neither always comes first: what a machine does slowly would be one's advantage.
      std::vector<double> mine, other;
      if (round % 2 == 0) other = untuned_->step_times(runs_);
      mine = candidate.step_times(runs_);
      if (round % 2 == 1) other = untuned_->step_times(runs_);
      for (size_t i = 0; i < sites.size(); ++i) {
        ms[i].push_back(candidate.time_of(sites[i]->tags, mine));
        untuned[i].push_back(untuned_->time_of(sites[i]->tags, other));
      }
    }
    std::vector<Ratio> ratios;
    for (size_t i = 0; i < sites.size(); ++i) ratios.push_back(ratio_of(ms[i], untuned[i]));
    return ratios;
  }

  // ---- the winners --------------------------------------------------------------------------

  Tuning winners_of(const std::vector<Site*>& sites) const {
    Tuning choices;
    for (const Site* s : sites)
      choices[s->node.key] = {.choice = s->best()->first, .reckoned = s->node.untuned};
    return choices;
  }

  /// Of nodes that share steps (a convolution, and whether it is widened) the better one.
  std::vector<Site*> first_winners() {
    std::vector<Site*> best, winners;
    for (Site& s : sites_)
      if (s.best() != nullptr && s.best()->second.middle < 1 - kLeastGain) best.push_back(&s);
    std::stable_sort(best.begin(), best.end(), [](const Site* a, const Site* b) {
      return a->best()->second.middle < b->best()->second.middle;
    });
    std::set<int> taken;
    for (Site* s : best) {
      if (std::any_of(s->tags.begin(), s->tags.end(), [&](int t) { return taken.count(t) != 0; }))
        continue;
      taken.insert(s->tags.begin(), s->tags.end());
      winners.push_back(s);
    }
    return winners;
  }

  /// Winners together, as long as one of them does not win there; then whole runs.
  void decide() {
    std::vector<Site*> winners = first_winners();
    std::unique_ptr<Candidate> tuned;
    for (int check = 0; check < kMostChecks && !winners.empty(); ++check) {
      tuned = build(winners_of(winners));
      const std::vector<Ratio> ratios = compare(*tuned, winners, check_rounds_);
      std::vector<Site*> confirmed;
      for (size_t i = 0; i < winners.size(); ++i) {
        winners[i]->node.ms = ratios[i].ms;
        winners[i]->node.untuned_ms = ratios[i].untuned_ms;
        if (ratios[i].wins()) confirmed.push_back(winners[i]);
      }
      if (confirmed.size() == winners.size()) break;
      winners = std::move(confirmed);
      tuned.reset();
    }
    if (tuned == nullptr) winners.clear();  // they never agreed
    compare_runs(tuned.get(), winners);
  }

  void compare_runs(Candidate* tuned, const std::vector<Site*>& winners) {
    std::vector<double> mine, other;
    for (int round = 0; round < check_rounds_; ++round) {
      if (round % 2 == 0) other.push_back(untuned_->run_time(2 * runs_));
      if (tuned != nullptr) mine.push_back(tuned->run_time(2 * runs_));
      if (round % 2 == 1) other.push_back(untuned_->run_time(2 * runs_));
    }
    report_.untuned_ms = report_.tuned_ms = median(other);
    if (tuned == nullptr) return;
    const Ratio whole = ratio_of(mine, other);
    report_.tuned_ms = whole.ms;
    report_.rejected = whole.middle >= 1;
    if (report_.rejected) report_.tuned_ms = report_.untuned_ms;
    else
      for (Site* s : winners) s->node.choice = s->best()->first;
  }

  void finish_report() {
    for (Site& s : sites_) {
      TunedNode& n = s.node;
      const auto count = static_cast<double>(n.names.size());
      n.untuned_ms /= count;
      n.ms = n.choice == n.untuned ? n.untuned_ms : n.ms / count;
      n.measured = s.known || s.queue.empty();
      if (n.measured || !(n.choice == n.untuned))
        report_.choices[n.key] = {n.choice, n.untuned, n.ms, n.untuned_ms};
      report_.nodes.push_back(std::move(n));
    }
    report_.seconds = seconds_since(start_);
    report_.interrupted = options_.stop && options_.stop();
  }

  const TuneOptions& options_;
  std::unique_ptr<Graph> graph_;  ///< before the choice of algorithms
  Clock::time_point start_;
  SelectAlgorithmsOptions select_;
  CompileOptions compile_;
  std::unique_ptr<Candidate> untuned_;
  std::vector<Site> sites_;
  int runs_ = 1;  ///< of a sample
  int rounds_ = kMostRounds, check_rounds_ = kMostCheckRounds;
  double reserve_ = 1;  ///< seconds to keep for checking the winners
  TuneReport report_;
};

}  // namespace

TuneReport tune(std::unique_ptr<Graph> graph, const TuneOptions& options) {
  try {
    return Tuner(std::move(graph), options).run();
  } catch (const Error& e) {
    throw Error(without_tags(e.what()));
  }
}

}  // namespace tintype
