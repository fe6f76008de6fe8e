// The stand-in itself: it has to find what goes wrong between streams, or tests on it show nothing.
#include "tests/support/cuda/stand_in.h"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace tintype {
namespace {

using testing::HasSubstr;

/// Three blocks of memory, two streams and two events, by hand.
class CudaStreams : public testing::Test {
 protected:
  CudaStreams() {
    void* context = nullptr;
    d.context_retain(&context, 0);
    d.context_set(context);
    for (uint64_t& block : blocks) d.allocate(&block, kBytes);
    for (void*& stream : streams) d.stream_create(&stream, 1);
    for (void*& event : events) d.event_create(&event, 2);
  }

  /// From block to block, on a stream.
  int copy(int stream, int from, int to, size_t offset = 0, size_t bytes = 64) {
    return d.copy_on_device(blocks[to] + offset, blocks[from] + offset, bytes, streams[stream]);
  }
  int record(int event, int stream) { return d.event_record(events[event], streams[stream]); }
  int await(int stream, int event) {
    return d.stream_wait_event(streams[stream], events[event], 0);
  }
  void finish() {
    for (void* stream : streams) d.stream_wait(stream);
  }
  /// What is recorded from stream 0 on, run twice; "" or what the recording ended with.
  int replay() {
    void *graph = nullptr, *executable = nullptr;
    if (const int code = d.capture_end(streams[0], &graph); code != 0) return code;
    if (const int code = d.graph_instantiate(&executable, graph, 0); code != 0) return code;
    for (int i = 0; i < 2; ++i) d.graph_launch(executable, streams[0]);
    return d.stream_wait(streams[0]);
  }

  static constexpr size_t kBytes = 256;
  CudaStandIn device;
  const CudaDriver& d = device.driver();
  uint64_t blocks[3] = {};
  void* streams[2] = {};
  void* events[2] = {};
};

TEST_F(CudaStreams, ReadingWhatAnotherStreamWritesIsARace) {
  copy(0, 0, 1);
  copy(1, 1, 2);
  finish();
  EXPECT_THAT(device.problem(), HasSubstr("nothing orders the two"));
}

TEST_F(CudaStreams, WritingWhatAnotherStreamReadsIsARace) {
  copy(0, 0, 1);
  copy(1, 2, 0);
  finish();
  EXPECT_THAT(device.problem(), HasSubstr("nothing orders the two"));
}

TEST_F(CudaStreams, WritingTwiceIsARace) {
  copy(0, 0, 2);
  copy(1, 1, 2);
  finish();
  EXPECT_THAT(device.problem(), HasSubstr("nothing orders the two"));
}

TEST_F(CudaStreams, BytesBesideEachOtherAreNone) {
  copy(0, 0, 2, 0, 61);
  copy(1, 1, 2, 61, 3);
  finish();
  EXPECT_EQ(device.problem(), "");
  copy(0, 0, 2, 0, 62);
  copy(1, 1, 2, 61, 3);
  finish();
  EXPECT_NE(device.problem(), "");
}

TEST_F(CudaStreams, ReadingTogetherIsNone) {
  copy(0, 0, 1);
  copy(1, 0, 2);
  finish();
  EXPECT_EQ(device.problem(), "");
}

TEST_F(CudaStreams, AnEventOrders) {
  copy(0, 0, 1);
  record(0, 0);
  await(1, 0);
  copy(1, 1, 2);
  finish();
  EXPECT_EQ(device.problem(), "");
}

// What is asked for behind the event is not ordered by it.
TEST_F(CudaStreams, AnEventOrdersNoMoreThanWhatCameBefore) {
  record(0, 0);
  copy(0, 0, 1);
  await(1, 0);
  copy(1, 1, 2);
  finish();
  EXPECT_NE(device.problem(), "");
}

TEST_F(CudaStreams, ReadersOnBothStreamsHaveToBeWaitedFor) {
  copy(0, 0, 1);
  copy(1, 0, 2);
  record(0, 1);
  await(0, 0);
  copy(0, 2, 0);
  finish();
  EXPECT_EQ(device.problem(), "");
  copy(1, 0, 2);
  copy(0, 0, 1);
  copy(0, 1, 0);
  finish();
  EXPECT_NE(device.problem(), "");
}

TEST_F(CudaStreams, TheHostOrders) {
  copy(0, 0, 1);
  d.stream_wait(streams[0]);
  copy(1, 1, 2);
  finish();
  EXPECT_EQ(device.problem(), "");
  std::vector<std::byte> here(64);
  copy(0, 0, 1);
  d.fetch(here.data(), blocks[1], 64);
  finish();
  EXPECT_THAT(device.problem(), HasSubstr("writes what cuMemcpyDtoH_v2 reads"));
}

TEST_F(CudaStreams, WaitingForOneStreamDoesNotDoTheWorkOfAnother) {
  std::vector<std::byte> zeros(64), here(64);
  d.store(blocks[0], zeros.data(), 64);
  std::memset(here.data(), 1, 64);
  copy(1, 0, 1);
  d.stream_wait(streams[0]);
  d.fetch(here.data(), blocks[2], 64);
  EXPECT_NE(here[0], std::byte{0});
  EXPECT_EQ(d.stream_destroy(streams[1]), 1);
  EXPECT_THAT(device.problem(), HasSubstr("destroyed with work queued"));
}

TEST_F(CudaStreams, ARecordingTakesInOtherStreams) {
  d.capture_begin(streams[0], 1);
  copy(0, 0, 1);
  record(0, 0);
  await(1, 0);
  copy(1, 1, 2);
  record(1, 1);
  await(0, 1);
  copy(0, 2, 0);
  EXPECT_EQ(replay(), 0);
  copy(1, 0, 1);  // not behind the graph
  finish();
  EXPECT_EQ(device.problem(), "");
}

TEST_F(CudaStreams, ARecordingKeepsItsRaces) {
  d.capture_begin(streams[0], 1);
  record(0, 0);
  await(1, 0);
  copy(0, 0, 1);
  copy(1, 1, 2);
  record(1, 1);
  await(0, 1);
  replay();
  EXPECT_THAT(device.problem(), HasSubstr("nothing orders the two"));
}

TEST_F(CudaStreams, ARecordingEndsWithAllStreamsJoined) {
  d.capture_begin(streams[0], 1);
  record(0, 0);
  await(1, 0);
  copy(1, 0, 1);
  EXPECT_EQ(replay(), 904);
  // Joined too early.
  d.capture_begin(streams[0], 1);
  record(0, 0);
  await(1, 0);
  record(1, 1);
  await(0, 1);
  copy(1, 0, 1);
  EXPECT_EQ(replay(), 904);
  EXPECT_EQ(device.problem(), "");
}

TEST_F(CudaStreams, ARecordingStaysByItself) {
  copy(1, 0, 1);
  record(1, 1);
  d.capture_begin(streams[0], 1);
  EXPECT_EQ(await(0, 1), 905);
  EXPECT_THAT(device.problem(), HasSubstr("not part of it"));
}

TEST_F(CudaStreams, ARecordingIsNotWaitedFor) {
  d.capture_begin(streams[0], 1);
  record(0, 0);
  await(1, 0);
  EXPECT_NE(d.stream_wait(streams[1]), 0);
  EXPECT_THAT(device.problem(), HasSubstr("waits for a stream that records"));
}

TEST_F(CudaStreams, AnEventThatNobodyRecordedIsAMistake) {
  EXPECT_NE(await(0, 0), 0);
  EXPECT_THAT(device.problem(), HasSubstr("never recorded"));
}

}  // namespace
}  // namespace tintype
