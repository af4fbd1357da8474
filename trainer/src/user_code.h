// The border between the loop and the user's code.
#ifndef MUSTER_TRAINER_SRC_USER_CODE_H_
#define MUSTER_TRAINER_SRC_USER_CODE_H_

#include <c10/util/Exception.h>

#include <exception>
#include <string>

#include "muster/base/error.h"

namespace muster::internal {

/// Runs a piece of the user's code; what it throws (our own errors aside) becomes a UserError that
/// says where it happened.
template <typename F>
auto call_user_code(const std::string& where, F&& code) -> decltype(code()) {
  try {
    return code();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& e) {
    throw UserError(where + " threw: " + e.what_without_backtrace());
  } catch (const std::exception& e) {
    throw UserError(where + " threw: " + e.what());
  }
}

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_USER_CODE_H_
