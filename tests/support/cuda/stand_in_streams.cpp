// The stand-in driver: streams, events, recordings and graphs.
//
// A stream does its work when it is waited for, and then no more than that; another stream's where
// an event says so. What may overtake what is kept as clocks, for races.h.
#include "tests/support/cuda/stand_in_state.h"

#include <algorithm>

namespace tintype {

using namespace stand_in;

int StandInState::enqueue(void* stream, Task task) {
  if (!current()) return note("a call without a current context", kInvalidContext);
  Stream* s = stream == nullptr ? &default_stream : static_cast<Stream*>(stream);
  if (stream != nullptr && streams.count(s) == 0) return note("an unknown stream", kInvalidValue);
  if (s->capture != nullptr) {
    Capture& c = *s->capture;
    const uint32_t number = ++c.counts[s->capture_line];
    c.nodes.push_back({std::move(task), s->capture_line, number, s->capture_clock});
    s->capture_clock.set(s->capture_line, number);
    return 0;
  }
  s->clock.merge(host_clock);
  ++s->count;
  const uint32_t work = races.add_work(task.name, s->line, s->count, s->clock);
  s->clock.set(s->line, s->count);
  s->queued.push_back({std::move(task), work});
  ++s->asked;
  return 0;
}

int StandInState::drain(Stream& s, size_t until) {
  while (s.done < until && !s.queued.empty()) {
    Stream::Entry e = std::move(s.queued.front());
    s.queued.pop_front();
    ++s.done;
    int code = 0;
    if (e.other == nullptr) code = run(e.task, e.work);
    else if (streams.count(e.other) != 0) code = drain(*e.other, e.done);
    if (code != 0) return broken = code;
  }
  return 0;
}

int StandInState::run(const Task& task, uint32_t work) {
  races.begin(work);
  return task.run();
}

int StandInState::host_touch(const char* name, uint64_t address, size_t bytes, bool write) {
  races.begin(races.add_work(name, host_line, ++host_count, host_clock));
  host_clock.set(host_line, host_count);
  const std::string* found = race(address, bytes, write);
  return found == nullptr ? 0 : note(*found, kIllegalAddress);
}

bool StandInState::forbids_allocation() const {
  return std::any_of(streams.begin(), streams.end(), [](const Stream* s) {
    return s->capture != nullptr && (s->capture->forbidden == std::thread::id() ||
                                     s->capture->forbidden == std::this_thread::get_id());
  });
}

namespace stand_in {

namespace {

int create_stream(void** out, unsigned) {
  return call("cuStreamCreate", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    auto* stream = new Stream;
    stream->line = s.races.add_line();
    *out = *s.streams.insert(stream).first;
    return 0;
  });
}

int destroy_stream(void* stream) {
  return call("cuStreamDestroy_v2", [&](StandInState& s) {
    auto* which = static_cast<Stream*>(stream);
    if (s.streams.erase(which) == 0) return s.note("an unknown stream is destroyed", kInvalidValue);
    const bool idle = which->capture != nullptr || which->queued.empty();
    delete which;
    return idle ? 0 : s.note("a stream is destroyed with work queued", kInvalidValue);
  });
}

int wait(void* stream) {
  return call("cuStreamSynchronize", [&](StandInState& s) {
    Stream& which = stream == nullptr ? s.default_stream : *static_cast<Stream*>(stream);
    if (which.capture != nullptr) return s.note("waits for a stream that records", kCaptureInvalid);
    if (const int code = s.drain(which, which.asked); code != 0) return code;
    s.host_clock.merge(which.clock);
    return 0;
  });
}

int create_event(void** out, unsigned flags) {
  return call("cuEventCreate", [&](StandInState& s) {
    if (!s.current()) return kInvalidContext;
    constexpr unsigned kDisableTiming = 2;
    if (flags != kDisableTiming) return s.note("an event that takes the time", kInvalidValue);
    *out = *s.events.insert(new Event).first;
    return 0;
  });
}

int destroy_event(void* event) {
  return call("cuEventDestroy_v2", [&](StandInState& s) {
    auto* which = static_cast<Event*>(event);
    if (s.events.erase(which) == 0) return s.note("an unknown event is destroyed", kInvalidValue);
    delete which;
    return 0;
  });
}

int record_event(void* event, void* stream) {
  return call("cuEventRecord", [&](StandInState& s) {
    auto* e = static_cast<Event*>(event);
    auto* from = static_cast<Stream*>(stream);
    if (s.events.count(e) == 0 || s.streams.count(from) == 0)
      return s.note("an unknown event or stream", kInvalidValue);
    e->recorded = true;
    e->captured = from->capture != nullptr;
    e->capture = from->capture;
    e->stream = from;
    e->asked = from->asked;
    e->clock = e->captured ? from->capture_clock : from->clock;
    return 0;
  });
}

/// A stream waits for work of a recording: it takes part from here on.
int wait_in_capture(StandInState& s, Stream& to, const Event& e) {
  const std::shared_ptr<Capture> capture = e.capture.lock();
  if (capture == nullptr)
    return s.note("waits for an event of a recording that is over", kCaptureIsolation);
  if (to.capture == nullptr) {
    to.capture = capture;
    to.capture_line = capture->counts.size();
    to.capture_clock = Clock();
    capture->counts.push_back(1);  // taking part has to be joined, as work has
    to.capture_clock.set(to.capture_line, 1);
  }
  if (to.capture != capture)
    return s.note("waits for an event of another recording", kCaptureIsolation);
  to.capture_clock.merge(e.clock);
  return 0;
}

int wait_for_event(void* stream, void* event, unsigned) {
  return call("cuStreamWaitEvent", [&](StandInState& s) {
    auto* e = static_cast<Event*>(event);
    auto* to = static_cast<Stream*>(stream);
    if (s.events.count(e) == 0 || s.streams.count(to) == 0)
      return s.note("an unknown event or stream", kInvalidValue);
    if (!e->recorded) return s.note("waits for an event that was never recorded", kInvalidValue);
    if (e->captured) return wait_in_capture(s, *to, *e);
    if (to->capture != nullptr)
      return s.note("a recording waits for what is not part of it", kCaptureIsolation);
    to->clock.merge(e->clock);
    Stream::Entry entry;
    entry.other = e->stream;
    entry.done = e->asked;
    to->queued.push_back(std::move(entry));
    ++to->asked;
    return 0;
  });
}

int begin_capture(void* stream, int mode) {
  return call("cuStreamBeginCapture_v2", [&](StandInState& s) {
    auto* which = static_cast<Stream*>(stream);
    if (s.streams.count(which) == 0 || which->capture != nullptr) return kInvalidValue;
    if (const int code = s.drain(*which, which->asked); code != 0) return code;
    constexpr int kGlobal = 0;  // CU_STREAM_CAPTURE_MODE_GLOBAL
    which->capture = std::make_shared<Capture>();
    which->capture->forbidden = mode == kGlobal ? std::thread::id() : std::this_thread::get_id();
    which->capture->counts = {0};
    which->capture_line = 0;
    which->capture_clock = Clock();
    return 0;
  });
}

/// An order that the clocks allow, as far from that of the recording as they let it: what joined
/// last goes first.
std::vector<Capture::Node> reordered(const Capture& c) {
  std::vector<std::deque<const Capture::Node*>> lines(c.counts.size());
  for (const Capture::Node& n : c.nodes) lines[n.line].push_back(&n);
  const auto is_done = [&](const Clock& before) {
    for (size_t l = 0; l < lines.size(); ++l)
      if (!lines[l].empty() && before[l] >= lines[l].front()->number) return false;
    return true;
  };
  std::vector<Capture::Node> order;
  while (order.size() < c.nodes.size())
    for (size_t l = lines.size(); l-- > 0;) {
      if (lines[l].empty() || !is_done(lines[l].front()->before)) continue;
      order.push_back(*lines[l].front());
      lines[l].pop_front();
      break;
    }
  return order;
}

int end_capture(void* stream, void** out) {
  return call("cuStreamEndCapture", [&](StandInState& s) {
    auto* which = static_cast<Stream*>(stream);
    if (s.streams.count(which) == 0 || which->capture == nullptr || which->capture_line != 0)
      return kInvalidValue;
    const std::shared_ptr<Capture> capture = which->capture;
    bool joined = true;
    for (size_t l = 1; l < capture->counts.size(); ++l)
      joined = joined && which->capture_clock[l] >= capture->counts[l];
    for (Stream* other : s.streams)
      if (other->capture == capture) other->capture = nullptr;
    *out = nullptr;
    if (!joined) return kCaptureUnjoined;
    *out = *s.graphs.insert(new Graph{reordered(*capture), {}, capture->counts}).first;
    return 0;
  });
}

int instantiate(void** out, void* graph, unsigned long long) {
  return call("cuGraphInstantiateWithFlags", [&](StandInState& s) {
    if (s.graphs.count(static_cast<Graph*>(graph)) == 0) return kInvalidValue;
    auto* made = new Graph(*static_cast<Graph*>(graph));
    for (uint32_t& count : made->counts) {
      made->lines.push_back(s.races.add_line());
      count = 0;
    }
    *out = *s.executables.insert(made).first;
    return 0;
  });
}

/// A graph begins when the stream comes to it, and all of it comes before what follows there.
int launch_graph(void* graph, void* stream) {
  return call("cuGraphLaunch", [&](StandInState& s) {
    auto* g = static_cast<Graph*>(graph);
    auto* to = static_cast<Stream*>(stream);
    if (s.executables.count(g) == 0 || s.streams.count(to) == 0) return kInvalidValue;
    if (!s.current()) return s.note("a call without a current context", kInvalidContext);
    if (to->capture != nullptr) return s.note("a recording launches a graph", kInvalidValue);
    to->clock.merge(s.host_clock);
    Clock start = to->clock;
    const std::vector<uint32_t> begin = g->counts;
    for (size_t l = 0; l < begin.size(); ++l) start.set(g->lines[l], begin[l]);
    for (const Capture::Node& n : g->nodes) {
      Clock before = start;
      for (size_t l = 0; l < begin.size(); ++l)
        if (n.before[l] > 0) before.set(g->lines[l], begin[l] + n.before[l]);
      const uint32_t number = begin[n.line] + n.number;
      g->counts[n.line] = std::max(g->counts[n.line], number);
      to->queued.push_back(
          {n.task, s.races.add_work(n.task.name, g->lines[n.line], number, std::move(before))});
      ++to->asked;
    }
    for (size_t l = 0; l < begin.size(); ++l) to->clock.set(g->lines[l], g->counts[l]);
    return 0;
  });
}

int release_graph(const char* name, std::set<Graph*> StandInState::* all, void* graph) {
  return call(name, [&](StandInState& s) {
    auto* g = static_cast<Graph*>(graph);
    if ((s.*all).erase(g) == 0) return s.note("destroys an unknown graph", kInvalidValue);
    delete g;
    return 0;
  });
}

}  // namespace

void add_stream_functions(CudaDriver& d) {
  d.stream_create = create_stream;
  d.stream_destroy = destroy_stream;
  d.stream_wait = wait;
  d.event_create = create_event;
  d.event_destroy = destroy_event;
  d.event_record = record_event;
  d.stream_wait_event = wait_for_event;
  d.capture_begin = begin_capture;
  d.capture_end = end_capture;
  d.graph_instantiate = instantiate;
  d.graph_launch = launch_graph;
  d.graph_release = [](void* g) {
    return release_graph("cuGraphDestroy", &StandInState::graphs, g);
  };
  d.executable_graph_release = [](void* g) {
    return release_graph("cuGraphExecDestroy", &StandInState::executables, g);
  };
}

}  // namespace stand_in

}  // namespace tintype
