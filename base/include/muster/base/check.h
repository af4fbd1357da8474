// Checks of Muster's own invariants: a failed one throws InternalError with both values.
#ifndef MUSTER_BASE_CHECK_H_
#define MUSTER_BASE_CHECK_H_

#include <sstream>
#include <string>

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

template <typename A, typename B>
std::string describe_comparison(const char* text, const A& a, const B& b) {
  std::ostringstream out;
  out << text << " (" << a << " against " << b << ")";
  return out.str();
}

}  // namespace muster::internal

#define MUSTER_CHECK(condition) \
  if (condition) {              \
  } else                        \
    ::muster::internal::CheckFailure(__FILE__, __LINE__, #condition)

#define MUSTER_CHECK_OP_(a, op, b)                                             \
  if ((a)op(b)) {                                                              \
  } else                                                                       \
    ::muster::internal::CheckFailure(                                          \
        __FILE__, __LINE__,                                                    \
        ::muster::internal::describe_comparison(#a " " #op " " #b, (a), (b)))

#define MUSTER_CHECK_EQ(a, b) MUSTER_CHECK_OP_(a, ==, b)
#define MUSTER_CHECK_NE(a, b) MUSTER_CHECK_OP_(a, !=, b)
#define MUSTER_CHECK_LT(a, b) MUSTER_CHECK_OP_(a, <, b)
#define MUSTER_CHECK_LE(a, b) MUSTER_CHECK_OP_(a, <=, b)
#define MUSTER_CHECK_GT(a, b) MUSTER_CHECK_OP_(a, >, b)
#define MUSTER_CHECK_GE(a, b) MUSTER_CHECK_OP_(a, >=, b)

#endif  // MUSTER_BASE_CHECK_H_
