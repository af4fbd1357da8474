// What ranks that lived through something write down for the test that started them, and how they
// wait for each other outside of what is tested.
#ifndef MUSTER_TESTS_END_TO_END_PROGRAMS_VERDICTS_H_
#define MUSTER_TESTS_END_TO_END_PROGRAMS_VERDICTS_H_

#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace muster::testing {

/// DIRECTORY/verdicts-RANK: "ok" or "wrong", the case, the milliseconds and a message, a line each,
/// and at last "end".
class Verdicts {
 public:
  using Clock = std::chrono::steady_clock;
  using Milliseconds = std::chrono::milliseconds;

  Verdicts(const std::filesystem::path& directory, int rank) : file_(path(directory, rank)) {}

  static std::filesystem::path path(const std::filesystem::path& directory, int rank) {
    return directory / ("verdicts-" + std::to_string(rank));
  }

  /// `act` is to throw an Expected whose message has all of `parts`, by `latest`.
  template <typename Expected>
  void expect(const std::string& title, Milliseconds latest, const std::vector<std::string>& parts,
              const std::function<void()>& act) {
    const Clock::time_point begin = Clock::now();
    std::string message = "no error";
    bool right = false;
    try {
      act();
    } catch (const Expected& error) {
      message = error.what();
      right = true;
    } catch (const std::exception& error) {
      message = std::string("another error: ") + error.what();
    }
    for (const std::string& part : parts) right = right && message.find(part) != std::string::npos;
    write(title, right, begin, latest, message);
  }

  /// What began at `begin` is over now.
  void write(const std::string& title, bool right, Clock::time_point begin, Milliseconds latest,
             const std::string& message) {
    const auto elapsed = std::chrono::duration_cast<Milliseconds>(Clock::now() - begin);
    file_ << (right && elapsed < latest ? "ok" : "wrong") << '\t' << title << '\t'
          << elapsed.count() << '\t' << message << std::endl;
  }

  void end() { file_ << "end" << std::endl; }

 private:
  std::ofstream file_;
};

inline void poll_until(const std::function<bool()>& condition) {
  const auto deadline = Verdicts::Clock::now() + std::chrono::seconds(30);
  while (!condition() && Verdicts::Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

inline bool has_ended(const std::filesystem::path& verdicts) {
  std::ifstream file(verdicts);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.size() >= 4 && text.compare(text.size() - 4, 4, "end\n") == 0;
}

/// To mpirun a rank that leaves without MPI_Finalize is one more death.
inline void wait_for_ends(const std::filesystem::path& directory, const std::vector<int>& ranks) {
  for (const int rank : ranks) {
    poll_until([&] { return has_ended(Verdicts::path(directory, rank)); });
  }
}

/// Each of `ranks` waits for the others here, outside of what is tested: an operation that has
/// ended for one may still run for another, who would meet what the first does next.
inline void meet(const std::filesystem::path& directory, const std::string& where, int rank,
                 const std::vector<int>& ranks) {
  const auto mark = [&](int one) { return directory / (where + "-" + std::to_string(one)); };
  std::ofstream(mark(rank)).flush();
  for (const int one : ranks) poll_until([&] { return std::filesystem::exists(mark(one)); });
}

/// Until the process sleeps after a SIGSTOP.
inline void wait_until_stopped(std::int64_t process) {
  poll_until([&] {
    std::string line;
    std::ifstream file("/proc/" + std::to_string(process) + "/stat");
    std::getline(file, line);
    const std::size_t name_end = line.rfind(") ");
    return name_end != std::string::npos && line[name_end + 2] == 'T';
  });
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_PROGRAMS_VERDICTS_H_
