// The kernel's files, under a root that is "/" everywhere but in tests.
#ifndef MUSTER_LAUNCHER_DOCTOR_SYSTEM_VIEW_H_
#define MUSTER_LAUNCHER_DOCTOR_SYSTEM_VIEW_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher::doctor {

/// Reads only; what cannot be read is "not told", since /proc and /sys differ from kernel to
/// kernel and from container to container.
class SystemView {
 public:
  explicit SystemView(std::filesystem::path root = "/") : root_(std::move(root)) {}

  /// `path`, which is absolute, under the root.
  std::filesystem::path at(const std::string& path) const;
  bool exists(const std::string& path) const;
  /// Without the white space at its end.
  std::optional<std::string> text(const std::string& path) const;
  std::vector<std::string> lines(const std::string& path) const;
  /// Its first word as a number; nothing for "max" as well.
  std::optional<std::int64_t> number(const std::string& path) const;
  /// Lines "name: value" or "name value", names without the colon.
  std::map<std::string, std::string> table(const std::string& path) const;
  /// Names in a directory, sorted.
  std::vector<std::string> names(const std::string& path) const;

 private:
  std::filesystem::path root_;
};

/// "0-3,8" as the kernel writes it; malformed parts are left out.
std::vector<int> parse_cpu_list(const std::string& text);
/// The word in brackets of "always [madvise] never"; empty where none is.
std::string chosen_word(const std::string& text);
/// A number at the start of `text`; nothing where none is.
std::optional<std::int64_t> leading_number(const std::string& text);
/// Words separated by white space.
std::vector<std::string> split_words(const std::string& text);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_SYSTEM_VIEW_H_
