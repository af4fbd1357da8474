// Requests to S3, signed.
#ifndef MUSTER_LAUNCHER_STORE_REQUEST_SIGNATURE_H_
#define MUSTER_LAUNCHER_STORE_REQUEST_SIGNATURE_H_

#include <map>
#include <string>
#include <string_view>

namespace muster::launcher {

struct StoreCredentials {
  std::string access_key{};
  std::string secret_key{};
  std::string session_token{};  ///< "" for those that last.
};

/// A request without a query.
struct SignedRequest {
  std::string method{};                        ///< As "PUT".
  std::string path{};                          ///< Percent-encoded.
  std::string region{};                        ///< As "us-east-1".
  std::string time{};                          ///< "20260131T235959Z"
  std::string body_sha256{};                   ///< 64 hexadecimal digits.
  std::map<std::string, std::string> headers;  ///< All that are signed, names in lower case.
};

/// 64 hexadecimal digits, in lower case.
std::string sha256_text(std::string_view data);

/// The value of the header Authorization, by AWS Signature Version 4 for the service s3
/// (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
std::string authorization(const SignedRequest& request, const StoreCredentials& credentials);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_STORE_REQUEST_SIGNATURE_H_
