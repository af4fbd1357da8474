// What Arrow's S3 filesystem lacks: an object that is created only where none is.
#ifndef MUSTER_LAUNCHER_STORE_CONDITIONAL_PUT_H_
#define MUSTER_LAUNCHER_STORE_CONDITIONAL_PUT_H_

#include <chrono>
#include <string>

#include "request_signature.h"

namespace muster::launcher {

/// Where an object is to be.
struct ObjectPlace {
  std::string scheme{};  ///< "http" or "https"
  std::string host{};    ///< With its port, where it needs one.
  std::string path{};    ///< Of the URL, from its "/", before percent-encoding.
  std::string region{};
};

struct StoreAnswer {
  int status = 0;      ///< That of HTTP; 0 when there was no answer.
  std::string text{};  ///< For people, and empty where all went well: "NoSuchBucket: The ...".
};

/// Asks the store once to create an object with `body` unless there is one (PUT with
/// If-None-Match: *). Status 200: created; 412: there is one; 409: another request for it is under
/// way. Blocks for a minute at most. Throws InternalError where libcurl cannot begin.
StoreAnswer put_if_none(const ObjectPlace& place, const StoreCredentials& credentials,
                        const std::string& body, std::chrono::system_clock::time_point now);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_STORE_CONDITIONAL_PUT_H_
