// AWS Signature Version 4. libcurl has one too, but before 7.87 one that leaves out headers that S3
// wants signed.
#include "request_signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

std::string hexadecimal(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char one : bytes) {
    const auto byte = static_cast<unsigned char>(one);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string hmac(std::string_view key, std::string_view data) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(data.data()), data.size(), out,
           &bytes) == nullptr) {
    throw InternalError("signing a request: expected HMAC-SHA256 from OpenSSL, found none");
  }
  return {reinterpret_cast<const char*>(out), bytes};
}

}  // namespace

std::string sha256_text(std::string_view data) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  if (EVP_Digest(data.data(), data.size(), out, &bytes, EVP_sha256(), nullptr) != 1)
    throw InternalError("signing a request: expected SHA-256 from OpenSSL, found none");
  return hexadecimal({reinterpret_cast<const char*>(out), bytes});
}

std::string authorization(const SignedRequest& request, const StoreCredentials& credentials) {
  std::string header_lines, header_names;
  for (const auto& [name, value] : request.headers) {
    header_lines += name + ":" + value + "\n";
    header_names += (header_names.empty() ? "" : ";") + name;
  }
  const std::string canonical = request.method + "\n" + request.path + "\n\n" + header_lines +
                                "\n" + header_names + "\n" + request.body_sha256;
  const std::string date = request.time.substr(0, 8);
  const std::string scope = date + "/" + request.region + "/s3/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + request.time + "\n" + scope + "\n" + sha256_text(canonical);
  std::string key = "AWS4" + credentials.secret_key;
  for (const std::string& part :
       {date, request.region, std::string("s3"), std::string("aws4_request")}) {
    key = hmac(key, part);
  }
  return "AWS4-HMAC-SHA256 Credential=" + credentials.access_key + "/" + scope +
         ",SignedHeaders=" + header_names + ",Signature=" + hexadecimal(hmac(key, to_sign));
}

}  // namespace muster::launcher
