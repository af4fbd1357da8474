// The words of the test rank.
#include "launcher/rank_program.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "muster/base/control_messages.h"
#include "muster/base/flight_recorder.h"
#include "muster/base/node_memory.h"
#include "muster/base/rank_env.h"

namespace muster::launcher::testing {
namespace {

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written <= 0) _exit(99);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

// A rank that nobody ends must not outlive its test.
[[noreturn]] void sleep_for_a_minute() {
  for (int i = 0; i < 60; ++i) sleep(1);
  _exit(98);
}

void make_orphan() {
  if (fork() != 0) return;
  setsid();
  if (fork() != 0) _exit(0);
  std::signal(SIGTERM, SIG_IGN);
  sleep_for_a_minute();
}

class Rank {
 public:
  Rank() : env_(RankEnv::from_environment()) {
    if (env_.control_fd >= 0) control_ = std::make_unique<ControlChannel>(env_.control_fd);
  }

  void obey(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "always") {
      active_ = true;
    } else if (name == "rank") {
      active_ = active_ && env_.rank == std::stoi(value);
    } else if (name == "gen") {
      active_ = active_ && env_.generation == std::stoi(value);
    } else if (name == "gen>") {
      active_ = active_ && env_.generation >= std::stoi(value);
    } else if (active_ && !say(name, value) && !record(name, value) && !act(name, value)) {
      throw std::invalid_argument("unknown word " + word);
    }
  }

 private:
  bool say(const std::string& name, const std::string& value) {
    char separator = 0;
    std::istringstream fields(value);
    if (name == "hello") {
      control_->send(Hello{getpid()});
    } else if (name == "resumed") {
      control_->send(Resumed{std::stoll(value)});
    } else if (name == "progress") {
      Progress progress;
      fields >> progress.step >> separator >> progress.total_steps;
      progress.loss = 0.5;
      progress.samples_per_second = 1000;
      control_->send(progress);
    } else if (name == "checkpoint") {
      CheckpointDone done;
      fields >> done.step >> separator >> done.path;
      control_->send(done);
    } else if (name == "done") {
      control_->send(Done{});
    } else if (name == "failure") {
      Failure failure;
      fields >> failure.exit_code >> separator;
      std::getline(fields, failure.kind, ':');
      std::getline(fields, failure.message);
      control_->send(failure);
    } else {
      return false;
    }
    return true;
  }

  bool record(const std::string& name, const std::string& value) {
    if (name != "ended" && name != "in" && name != "gave-up") return false;
    if (!flight_) {
      flight_ = FlightRecorder::create(env_);
      lane_ = flight_->add_communicator("world", env_.rank, env_.world_size);
    }
    const FlightEntry entry = lane_.queued(next_operation_++, {value, {}, {}});
    entry.started(std::chrono::steady_clock::now());
    if (name == "ended") entry.ended();
    if (name == "gave-up") entry.failed();
    return true;
  }

  bool act(const std::string& name, const std::string& value) {
    if (name == "print") {
      write_all(STDOUT_FILENO, value + "\n");
    } else if (name == "error") {
      write_all(STDERR_FILENO, value + "\n");
    } else if (name == "bytes") {
      write_all(STDOUT_FILENO, pattern_bytes(std::stoul(value)));
    } else if (name == "join") {
      memory_ =
          NodeMemory::attach(env_.node_memory_fd, static_cast<std::uint32_t>(env_.generation));
      memory_->join(env_.local_rank);
    } else if (name == "wait-lost") {
      wait_lost();
    } else if (name == "wait-stop") {
      wait_stop(std::stoi(value));
    } else if (name == "orphan") {
      make_orphan();
    } else if (name == "ignore-term") {
      std::signal(SIGTERM, SIG_IGN);
      std::signal(SIGINT, SIG_IGN);
    } else if (name == "await") {
      for (int i = 0; i < 60000 && access(value.c_str(), F_OK) != 0; ++i) usleep(1000);
    } else if (name == "touch") {
      std::ofstream(value).close();
    } else if (name == "pause") {
      sleep_for_a_minute();
    } else if (name == "kill") {
      kill(getpid(), SIGKILL);
    } else if (name == "segv") {
      std::signal(SIGSEGV, SIG_DFL);
      raise(SIGSEGV);
    } else if (name == "exit") {
      _exit(std::stoi(value));
    } else {
      return false;
    }
    return true;
  }

  [[noreturn]] void wait_lost() {
    while (!memory_->generation_moved()) {
      futex_wait(memory_->control().generation, memory_->generation(), 100000);
    }
    control_->send(Failure{75, "PeerLost", "another rank is gone", 0});
    _exit(75);
  }

  [[noreturn]] void wait_stop(int code) {
    for (;;) {
      pollfd wait{control_->fd(), POLLIN, 0};
      poll(&wait, 1, 60000);
      const auto message = control_->receive();
      if (!message) _exit(97);
      const auto* stop = std::get_if<Stop>(&*message);
      if (stop == nullptr) continue;
      write_all(STDOUT_FILENO, "stop " + stop->reason + "\n");
      _exit(code);
    }
  }

  RankEnv env_;
  std::unique_ptr<ControlChannel> control_;
  std::unique_ptr<NodeMemory> memory_;
  std::shared_ptr<FlightRecorder> flight_;
  FlightLane lane_;
  std::uint64_t next_operation_ = 0;
  bool active_ = true;
};

}  // namespace

std::string pattern_bytes(std::size_t count) {
  // Every byte value, zero included, and no period that a buffer's size could hide.
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>((i * 31 + i / 251) % 256);
  return bytes;
}

int rank_program(const std::vector<std::string>& words) {
  Rank rank;
  for (const std::string& word : words) rank.obey(word);
  return 0;
}

}  // namespace muster::launcher::testing
