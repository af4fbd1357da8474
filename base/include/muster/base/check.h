// Checks of Muster's own invariants: a failed one throws InternalError with both values.
#ifndef MUSTER_BASE_CHECK_H_
#define MUSTER_BASE_CHECK_H_

#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

/// Collects a message by `<<` and throws it at the end of the full expression.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const std::string& condition) {
    message_ << "check failed at " << file << ":" << line << ": " << condition;
  }
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  // Throws on purpose: it is the last thing of a failed check, never part of an unwinding.
  ~CheckFailure() noexcept(false) { throw InternalError(message_.str()); }

  template <typename T>
  CheckFailure& operator<<(const T& value) {
    if (!separated_) message_ << "; ";
    separated_ = true;
    message_ << value;
    return *this;
  }

 private:
  std::ostringstream message_;
  bool separated_ = false;
};

// Integers of different signs compare by value: MUSTER_CHECK_LT(-1, vector.size()) holds.
template <typename T>
inline constexpr bool kComparesByValue =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;

#define MUSTER_DEFINE_COMPARISON(Name, op, by_value)              \
  struct Name {                                                   \
    template <typename A, typename B>                             \
    bool operator()(const A& a, const B& b) const {               \
      if constexpr (kComparesByValue<A> && kComparesByValue<B>) { \
        return std::by_value(a, b);                               \
      } else {                                                    \
        return a op b;                                            \
      }                                                           \
    }                                                             \
  }

MUSTER_DEFINE_COMPARISON(Equal, ==, cmp_equal);
MUSTER_DEFINE_COMPARISON(NotEqual, !=, cmp_not_equal);
MUSTER_DEFINE_COMPARISON(Less, <, cmp_less);
MUSTER_DEFINE_COMPARISON(LessEqual, <=, cmp_less_equal);
MUSTER_DEFINE_COMPARISON(Greater, >, cmp_greater);
MUSTER_DEFINE_COMPARISON(GreaterEqual, >=, cmp_greater_equal);

#undef MUSTER_DEFINE_COMPARISON

/// Nothing when the comparison holds, else its text with both values.
template <typename Comparison, typename A, typename B>
std::optional<std::string> failed_comparison(const char* text, const A& a, const B& b) {
  if (Comparison{}(a, b)) return std::nullopt;
  std::ostringstream out;
  out << text << " (" << a << " against " << b << ")";
  return out.str();
}

}  // namespace muster::internal

// `while` because `if` would take the `else` that follows the macro; the body throws, so it runs
// once.
#define MUSTER_CHECK(condition) \
  while (!(condition)) ::muster::internal::CheckFailure(__FILE__, __LINE__, #condition)

// Each operand is evaluated once.
#define MUSTER_CHECK_OP_(Comparison, op, a, b)                                      \
  while (const auto muster_failed_ =                                                \
             ::muster::internal::failed_comparison<::muster::internal::Comparison>( \
                 #a " " #op " " #b, (a), (b)))                                      \
  ::muster::internal::CheckFailure(__FILE__, __LINE__, *muster_failed_)

#define MUSTER_CHECK_EQ(a, b) MUSTER_CHECK_OP_(Equal, ==, a, b)
#define MUSTER_CHECK_NE(a, b) MUSTER_CHECK_OP_(NotEqual, !=, a, b)
#define MUSTER_CHECK_LT(a, b) MUSTER_CHECK_OP_(Less, <, a, b)
#define MUSTER_CHECK_LE(a, b) MUSTER_CHECK_OP_(LessEqual, <=, a, b)
#define MUSTER_CHECK_GT(a, b) MUSTER_CHECK_OP_(Greater, >, a, b)
#define MUSTER_CHECK_GE(a, b) MUSTER_CHECK_OP_(GreaterEqual, >=, a, b)

#endif  // MUSTER_BASE_CHECK_H_
