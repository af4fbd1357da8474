// The recorder's file: what is written is read back, whatever happens to the process, the disk or
// the bytes.
#include "muster/base/flight_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "muster/base/error.h"
#include "muster/base/flight_log.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr FlightCall kSum{"all_reduce", "Float", "sum", 64, 256};

class FlightRecorderTest : public ::testing::Test {
 protected:
  FlightRecorderTest() {
    std::string pattern = (fs::temp_directory_path() / "muster-flight-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    env_.rank = 2;
    env_.world_size = 3;
    env_.generation = 1;
    env_.run_id = "run-7";
    env_.flight_directory = directory_;
  }
  ~FlightRecorderTest() override { fs::remove_all(directory_); }

  fs::path path() const { return directory_ / "flight-rank-2.bin"; }
  FlightLog read() { return read_flight_log(path(), *system_); }

  std::string bytes() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write_bytes(const std::string& text) const {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << text;
  }
  /// Replaces bytes at `offset`.
  void overwrite(std::size_t offset, const std::string& with) const {
    std::string text = bytes();
    write_bytes(text.replace(offset, with.size(), with));
  }
  std::string data_error() {
    try {
      read();
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }

  fs::path directory_;
  RankEnv env_;
  std::unique_ptr<Env> system_ = make_system_env();
};

void record_ended(const FlightLane& lane, std::uint64_t sequence, const FlightCall& call = kSum) {
  const FlightEntry entry = lane.queued(sequence, call);
  entry.started(std::chrono::steady_clock::now());
  entry.ended();
}

std::string little_endian(std::uint64_t value, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

TEST_F(FlightRecorderTest, WhatIsWrittenIsRead) {
  const auto before = std::chrono::steady_clock::now();
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  const FlightLane part = world.of_part("world/0:1", 0, 1);
  record_ended(world, 0);
  const FlightEntry failed =
      world.queued(1, {"broadcast", "Long", "", 5, 40, FlightPeer::kRoot, 1});
  failed.started(before);
  failed.failed();
  part.queued(0, {"barrier", {}, {}}).started(before);
  part.queued(1, kSum);
  part.queued(2, kSum).failed();

  const FlightLog log = read();
  EXPECT_EQ(log.rank, 2);
  EXPECT_EQ(log.world_size, 3);
  EXPECT_EQ(log.generation, 1);
  EXPECT_EQ(log.run_id, "run-7");
  EXPECT_EQ(log.process, own_process_identity());
  EXPECT_EQ(log.problem, "");
  EXPECT_EQ(log.dropped, 0u);
  EXPECT_EQ(log.end, FlightEnd::kOpen);
  ASSERT_EQ(log.communicators.size(), 2u);
  EXPECT_EQ(log.communicators[1].id, 1u);
  EXPECT_EQ(log.communicators[1].name, "world/0:1");
  EXPECT_EQ(log.communicators[0].rank, 2);
  EXPECT_EQ(log.communicators[0].size, 3);
  ASSERT_EQ(log.operations.size(), 5u);
  const auto& operations = log.operations;
  EXPECT_EQ(operations[0].state, FlightState::kEnded);
  EXPECT_EQ(operations[0].description(), "all_reduce(sum, Float, 64 elements)");
  EXPECT_EQ(operations[0].bytes, 256);
  const std::int64_t start_ns = std::chrono::nanoseconds(before.time_since_epoch()).count();
  EXPECT_LE(start_ns, operations[0].queued_ns);
  EXPECT_LE(operations[0].queued_ns, operations[0].started_ns);
  EXPECT_LE(operations[0].started_ns, operations[0].ended_ns);
  EXPECT_EQ(operations[1].state, FlightState::kFailed);
  EXPECT_EQ(operations[1].sequence, 1u);
  EXPECT_EQ(operations[1].started_ns, start_ns);
  EXPECT_EQ(operations[1].description(), "broadcast(Long, 5 elements, root 1)");
  EXPECT_EQ(operations[2].state, FlightState::kStarted);
  EXPECT_EQ(operations[2].communicator, 1u);
  EXPECT_EQ(operations[2].description(), "barrier()");
  EXPECT_EQ(operations[2].ended_ns, 0);
  EXPECT_EQ(operations[3].state, FlightState::kQueued);
  EXPECT_EQ(operations[3].started_ns, 0);
  EXPECT_EQ(operations[4].state, FlightState::kFailed);
  EXPECT_EQ(operations[4].started_ns, 0);

  recorder->end(FlightEnd::kLeft);
  EXPECT_EQ(read().end, FlightEnd::kLeft);
  EXPECT_GE(read().end_ns, log.operations[4].ended_ns);
}

// As parts of parts of parts have; and every rank gives one communicator one name.
TEST_F(FlightRecorderTest, TwoCommunicatorsWithLongNamesStayTwo) {
  const auto recorder = FlightRecorder::create(env_);
  recorder->add_communicator("world", 2, 3);
  const std::string name = "split 0 (color 1).0 (color 0).0 (color 0).0 (color ";
  for (const char* const end : {"0)", "1)", "0)"}) recorder->add_communicator(name + end, 0, 1);
  const std::vector<FlightCommunicator> all = read().communicators;
  ASSERT_EQ(all.size(), 4u);
  EXPECT_NE(all[1].name, all[2].name);
  EXPECT_EQ(all[1].name, all[3].name);
  EXPECT_EQ(all[1].name.substr(0, 30), name.substr(0, 30));
  const std::string longest(47, 'x');
  recorder->add_communicator(longest, 0, 1);
  EXPECT_EQ(read().communicators[4].name, longest);
}

TEST_F(FlightRecorderTest, ACommunicatorThatEndedLeavesItsEntryToALaterOneWhereThereIsNoOther) {
  const auto recorder = FlightRecorder::create(env_);
  recorder->add_communicator("world", 2, 3);
  std::vector<FlightLane> lanes;
  const auto add = [&] {
    lanes.push_back(recorder->add_communicator("part " + std::to_string(lanes.size() + 1), 0, 1));
  };
  const auto names = [&] {
    std::vector<std::string> all;
    for (const FlightCommunicator& one : read().communicators) all.push_back(one.name);
    return all;
  };
  add();
  lanes[0] = {};
  for (int i = 2; i <= 47; ++i) add();
  EXPECT_EQ(names().size(), 48u);
  EXPECT_EQ(names()[1], "part 1") << "its records are still there";
  add();
  EXPECT_EQ(names()[1], "part 48");
  EXPECT_EQ(read().communicators[1].id, 48u);
  add();
  EXPECT_EQ(names().size(), 48u) << "the world's is never given away";
  EXPECT_EQ(names()[0], "world");
  const FlightLane copy = lanes[2];
  lanes[2] = {};
  lanes[3] = {};
  add();
  EXPECT_EQ(names()[3], "part 3") << "it has a lane";
  EXPECT_EQ(names()[4], "part 50");
  lanes[6] = {};
  lanes[5] = {};
  add();
  EXPECT_EQ(names()[7], "part 51") << "it ended first";
  EXPECT_EQ(names()[6], "part 6") << "its records are still there";
  EXPECT_EQ(read().problem, "");
}

// The offsets of docs/flight_recorder.md, which never change.
TEST_F(FlightRecorderTest, TheBytesAreThoseOfTheDocument) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  world.queued(77, {"reduce", "Float", "max", 10, 40, FlightPeer::kRoot, 2}).started({});
  recorder->end(FlightEnd::kFailed);
  const std::string text = bytes();
  ASSERT_EQ(text.size(), 4096u + 4096u * 128u);
  const auto number = [&](std::size_t offset, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(text[offset + i])} << (8 * i);
    }
    return value;
  };
  EXPECT_EQ(text.substr(0, 8), "\x01MSFLGHT");
  EXPECT_EQ(number(8, 4), 1u);
  EXPECT_EQ(number(12, 4), 4096u);
  EXPECT_EQ(number(16, 4), 128u);
  EXPECT_EQ(number(20, 4), 4096u);
  EXPECT_EQ(number(24, 4), 2u);
  EXPECT_EQ(number(28, 4), 3u);
  EXPECT_EQ(number(32, 4), 1u);
  EXPECT_EQ(number(40, 8), static_cast<std::uint64_t>(getpid()));
  EXPECT_STREQ(text.data() + 184, "run-7");
  EXPECT_EQ(number(252, 4), 3u);
  EXPECT_EQ(number(280, 4), 1u);
  EXPECT_STREQ(text.data() + 1024 + 12, "world");
  const std::size_t record = 4096;
  EXPECT_EQ(number(record, 8), 4u) << "two changes";
  EXPECT_EQ(number(record + 8, 8), 77u);
  EXPECT_NE(number(record + 16, 8), 0u);
  EXPECT_EQ(number(record + 40, 8), 40u);
  EXPECT_EQ(number(record + 48, 8), 10u);
  EXPECT_EQ(number(record + 56, 4), 0u);
  EXPECT_EQ(number(record + 60, 4), 2u);
  EXPECT_STREQ(text.data() + record + 64, "reduce");
  EXPECT_STREQ(text.data() + record + 96, "Float");
  EXPECT_STREQ(text.data() + record + 112, "max");
  EXPECT_EQ(number(record + 124, 1), 2u);
  EXPECT_EQ(number(record + 125, 1), 1u);
}

TEST_F(FlightRecorderTest, TheLast4096OperationsAreKept) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  for (std::uint64_t sequence = 0; sequence < 10000; ++sequence) record_ended(world, sequence);
  const FlightLog log = read();
  ASSERT_EQ(log.operations.size(), kFlightRecords);
  for (std::size_t i = 0; i < kFlightRecords; ++i) {
    EXPECT_EQ(log.operations[i].sequence, 10000 - kFlightRecords + i);
  }
}

TEST_F(FlightRecorderTest, AnOperationInFlightStaysHoweverManyFollowElsewhere) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  const FlightLane part = recorder->add_communicator("part", 0, 2);
  world.queued(5, kSum).started(std::chrono::steady_clock::now());
  for (std::uint64_t sequence = 0; sequence < 10000; ++sequence) record_ended(part, sequence);
  const FlightLog log = read();
  EXPECT_EQ(log.operations.front().communicator, 0u);
  EXPECT_EQ(log.operations.front().sequence, 5u);
  EXPECT_EQ(log.operations.size(), kFlightRecords);
}

TEST_F(FlightRecorderTest, OperationsBeyondThoseInFlightAreCounted) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  for (std::uint64_t sequence = 0; sequence < kFlightRecords + 3; ++sequence) {
    world.queued(sequence, kSum);
  }
  const FlightEntry none = world.queued(kFlightRecords + 3, kSum);
  none.started({});
  none.ended();
  const FlightLog log = read();
  EXPECT_EQ(log.dropped, 4u);
  ASSERT_EQ(log.operations.size(), kFlightRecords);
  EXPECT_EQ(log.operations.front().sequence, 0u);
}

TEST_F(FlightRecorderTest, SeveralThreadsShareTheRecords) {
  const auto recorder = FlightRecorder::create(env_);
  std::vector<FlightLane> lanes;
  for (int i = 0; i < 4; ++i) {
    lanes.push_back(recorder->add_communicator("lane " + std::to_string(i), 0, 1));
  }
  std::vector<std::thread> threads;
  for (const FlightLane& lane : lanes) {
    threads.emplace_back([&lane] {
      for (std::uint64_t sequence = 0; sequence < 1000; ++sequence) record_ended(lane, sequence);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::uint64_t> next(4, 0);
  for (const FlightOperation& operation : read().operations) {
    EXPECT_EQ(operation.sequence, next[operation.communicator]++);
    EXPECT_EQ(operation.state, FlightState::kEnded);
  }
  EXPECT_THAT(next, ::testing::Each(1000u));
}

// A reader beside a writer at full speed: each operation's fields all hang on its number.
TEST_F(FlightRecorderTest, AReaderNeverSeesHalfOfAChange) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::uint64_t sequence = 0; !stop.load(); ++sequence) {
      const std::string name(1 + sequence % 30, static_cast<char>('a' + sequence % 26));
      record_ended(world, sequence,
                   {name, name, "", static_cast<std::int64_t>(sequence) * 3,
                    static_cast<std::int64_t>(sequence) * 5});
    }
  });
  std::size_t operations = 0;
  for (int look = 0; look < 30; ++look) {
    const FlightLog log = read();
    EXPECT_EQ(log.problem, "");
    for (const FlightOperation& operation : log.operations) {
      const std::uint64_t sequence = operation.sequence;
      const std::string name(1 + sequence % 30, static_cast<char>('a' + sequence % 26));
      EXPECT_EQ(operation.operation, name);
      EXPECT_EQ(operation.dtype, name.substr(0, 15));
      EXPECT_EQ(operation.elements, static_cast<std::int64_t>(sequence * 3));
      EXPECT_EQ(operation.bytes, static_cast<std::int64_t>(sequence * 5));
      EXPECT_EQ(operation.started_ns != 0, operation.state >= FlightState::kStarted);
      EXPECT_EQ(operation.ended_ns != 0, operation.state == FlightState::kEnded);
    }
    operations += log.operations.size();
  }
  stop.store(true);
  writer.join();
  EXPECT_GT(operations, 0u);
}

TEST_F(FlightRecorderTest, ARecordThatWasBeingWrittenIsLeftOut) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  record_ended(world, 0);
  record_ended(world, 1);
  overwrite(4096 + 128, little_endian(7, 8));
  const FlightLog log = read();
  EXPECT_EQ(log.unfinished_records, 1);
  ASSERT_EQ(log.operations.size(), 1u);
  EXPECT_EQ(log.operations[0].sequence, 0u);
  EXPECT_EQ(log.problem, "");
}

TEST_F(FlightRecorderTest, DamagedRecordsAreCountedAndTheRestIsRead) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  recorder->add_communicator("part", 0, 2);
  for (std::uint64_t sequence = 0; sequence < 8; ++sequence) record_ended(world, sequence);
  const auto at = [](std::size_t record, std::size_t offset) {
    return 4096 + 128 * record + offset;
  };
  overwrite(at(0, 124), little_endian(9, 1));  // a state that is none
  overwrite(at(1, 124), little_endian(0, 1));
  overwrite(at(2, 64), std::string(32, 'x'));  // a text without end
  overwrite(at(3, 96), "\x80");                // a text that is none
  overwrite(at(4, 24), little_endian(0, 8));   // ended without a start
  overwrite(at(5, 16), little_endian(0, 8));   // never issued
  overwrite(at(6, 125), little_endian(4, 1));  // a role that is none
  overwrite(1024 + 64 + 12, "q");              // the second communicator
  const FlightLog log = read();
  EXPECT_EQ(log.problem, "1 damaged communicators are left out; 7 damaged records are left out");
  ASSERT_EQ(log.operations.size(), 1u);
  EXPECT_EQ(log.operations[0].sequence, 7u);
  ASSERT_EQ(log.communicators.size(), 1u);
}

TEST_F(FlightRecorderTest, ACutOffFileIsReadAsFarAsItGoes) {
  const auto recorder = FlightRecorder::create(env_);
  const FlightLane world = recorder->add_communicator("world", 2, 3);
  for (std::uint64_t sequence = 0; sequence < 10; ++sequence) record_ended(world, sequence);
  const std::string whole = bytes();
  for (const std::size_t left : {std::size_t{4096}, std::size_t{4096 + 127}}) {
    write_bytes(whole.substr(0, left));
    EXPECT_EQ(read().operations.size(), 0u);
    EXPECT_THAT(read().problem, HasSubstr("cut off: 0 of 4096"));
  }
  write_bytes(whole.substr(0, 4096 + 3 * 128 + 5));
  EXPECT_EQ(read().operations.size(), 3u);
  EXPECT_THAT(read().problem, HasSubstr("cut off: 3 of 4096"));
  for (const std::size_t left : {12u, 100u, 4095u}) {
    write_bytes(whole.substr(0, left));
    EXPECT_THAT(data_error(),
                HasSubstr("flight-rank-2.bin: expected a header of 4096 bytes, found " +
                          std::to_string(left)));
  }
  for (const std::size_t left : {0u, 7u, 11u}) {
    write_bytes(whole.substr(0, left));
    EXPECT_THAT(data_error(), HasSubstr("expected the file of a flight recorder"));
  }
}

TEST_F(FlightRecorderTest, StrangeFilesAreNamed) {
  { const auto recorder = FlightRecorder::create(env_); }
  overwrite(8, little_endian(2, 4));
  EXPECT_THAT(data_error(), HasSubstr("expected format version 1, found version 2"));
  overwrite(8, little_endian(1, 4));
  EXPECT_EQ(read().rank, 2);
  overwrite(24, little_endian(1, 4));
  EXPECT_THAT(data_error(), HasSubstr("expected a header with its checksum"));
  overwrite(0, "MUSTER");
  EXPECT_THAT(data_error(), HasSubstr("expected the file of a flight recorder"));
  fs::remove(path());
  EXPECT_THROW(read(), FileError);
}

TEST_F(FlightRecorderTest, OutlivesItsProcess) {
  const pid_t child = fork();
  if (child == 0) {
    const auto recorder = FlightRecorder::create(env_);
    const FlightLane world = recorder->add_communicator("world", 2, 3);
    record_ended(world, 0);
    world.queued(1, kSum).started(std::chrono::steady_clock::now());
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const FlightLog log = read();
  ASSERT_EQ(log.operations.size(), 2u);
  EXPECT_EQ(log.operations[1].state, FlightState::kStarted);
  EXPECT_EQ(log.process.pid, child);
  EXPECT_EQ(process_state(log.process), ProcessState::kGone);
}

// Two jobs that were given one directory: the first goes on writing to a file that has no name any
// more.
TEST_F(FlightRecorderTest, ANewFileLeavesAnOldOneToItsProcess) {
  const auto first = FlightRecorder::create(env_);
  const FlightLane lane = first->add_communicator("first", 0, 1);
  const auto second = FlightRecorder::create(env_);
  second->add_communicator("second", 0, 1);
  record_ended(lane, 0);
  const FlightLog log = read();
  EXPECT_EQ(log.operations.size(), 0u);
  EXPECT_EQ(log.communicators[0].name, "second");
  EXPECT_EQ(system_->list_directory(directory_), std::vector<std::string>{"flight-rank-2.bin"});
}

TEST_F(FlightRecorderTest, CommunicatorsBeyondTheTableAreRecordedWithoutAName) {
  const auto recorder = FlightRecorder::create(env_);
  FlightLane lane;
  for (int i = 0; i < 60; ++i) lane = recorder->add_communicator(std::to_string(i), 0, 1);
  record_ended(lane, 0);
  const FlightLog log = read();
  EXPECT_EQ(log.communicators.size(), kFlightCommunicators);
  EXPECT_EQ(log.operations[0].communicator, 59u);
}

TEST_F(FlightRecorderTest, MakesItsDirectory) {
  env_.flight_directory = directory_ / "a" / "b";
  FlightRecorder::create(env_);
  EXPECT_TRUE(fs::exists(directory_ / "a" / "b" / "flight-rank-2.bin"));
}

TEST_F(FlightRecorderTest, AnImpossibleDirectoryIsNamed) {
  std::ofstream(directory_ / "file") << "";
  env_.flight_directory = directory_ / "file" / "under";
  EXPECT_THROW(FlightRecorder::create(env_), FileError);
}

// Told at creation, not as a SIGBUS later; nothing is left behind.
TEST_F(FlightRecorderTest, AFullDiskIsToldAtOnce) {
  const auto create_on_a_full_disk = [this] {
    // Of a file's size: the nearest to a full disk without root.
    const rlimit limit{100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      FlightRecorder::create(env_);
    } catch (const FileError& e) {
      std::fprintf(stderr, "%s\n", e.what());
      _exit(3);
    }
    _exit(4);
  };
  EXPECT_EXIT(create_on_a_full_disk(), ::testing::ExitedWithCode(3), "cannot reserve 528384 bytes");
  EXPECT_TRUE(system_->list_directory(directory_).empty());
}

FlightOperation operation_of(const std::string& name, const std::string& dtype,
                             std::int64_t elements, FlightPeer role, int peer) {
  FlightOperation operation;
  operation.operation = name;
  operation.dtype = dtype;
  operation.elements = elements;
  operation.peer_role = role;
  operation.peer = peer;
  return operation;
}

TEST(FlightOperationTest, DescribesItself) {
  const auto leave = operation_of("leave", "", 0, FlightPeer::kNone, -1);
  EXPECT_EQ(leave.description(), "leave()");
  EXPECT_TRUE(leave.is_collective());
  EXPECT_EQ(operation_of("all_to_all", "Float", -1, FlightPeer::kNone, -1).description(),
            "all_to_all(Float, counts by rank)");
  const auto send = operation_of("send", "Char", 0, FlightPeer::kTo, 3);
  EXPECT_EQ(send.description(), "send(Char, 0 elements, to rank 3)");
  EXPECT_FALSE(send.is_collective());
  const auto receive = operation_of("recv", "Char", 0, FlightPeer::kFrom, 3);
  EXPECT_EQ(receive.description(), "recv(Char, 0 elements, from rank 3)");
  EXPECT_FALSE(receive.is_collective());
}

TEST(FlightLaneTest, AnEmptyOneRecordsNothing) {
  const FlightLane lane;
  record_ended(lane, 0);
  record_ended(lane.of_part("part", 0, 1), 0);
}

}  // namespace
}  // namespace muster
