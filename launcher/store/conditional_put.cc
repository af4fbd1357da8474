// One request by libcurl.
#include "conditional_put.h"

#include <curl/curl.h>

#include <ctime>
#include <map>
#include <memory>
#include <string_view>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr long kConnectSeconds = 5;
constexpr long kRequestSeconds = 60;

std::string percent_encoded(std::string_view path) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const char one : path) {
    const auto byte = static_cast<unsigned char>(one);
    if (kPlain.find(one) != std::string_view::npos) {
      text += one;
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

std::string time_text(std::chrono::system_clock::time_point now) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

std::map<std::string, std::string> signed_headers(const ObjectPlace& place, const std::string& path,
                                                  const StoreCredentials& credentials,
                                                  const std::string& body,
                                                  std::chrono::system_clock::time_point now) {
  SignedRequest request{.method = "PUT",
                        .path = path,
                        .region = place.region,
                        .time = time_text(now),
                        .body_sha256 = sha256_text(body),
                        .headers = {{"host", place.host}, {"if-none-match", "*"}}};
  request.headers["x-amz-content-sha256"] = request.body_sha256;
  request.headers["x-amz-date"] = request.time;
  if (!credentials.session_token.empty())
    request.headers["x-amz-security-token"] = credentials.session_token;
  std::map<std::string, std::string> headers = request.headers;
  headers["authorization"] = authorization(request, credentials);
  headers["content-type"] = "application/json";
  return headers;
}

using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

HeaderList list_of(const std::map<std::string, std::string>& headers) {
  HeaderList list(nullptr, &curl_slist_free_all);
  for (const auto& [name, value] : headers)
    list.reset(curl_slist_append(list.release(), (name + ": " + value).c_str()));
  return list;
}

std::size_t append(char* data, std::size_t size, std::size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

std::string element(const std::string& xml, const std::string& name) {
  const auto begin = xml.find("<" + name + ">");
  const auto end = xml.find("</" + name + ">");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  return xml.substr(begin + name.size() + 2, end - begin - name.size() - 2);
}

}  // namespace

StoreAnswer put_if_none(const ObjectPlace& place, const StoreCredentials& credentials,
                        const std::string& body, std::chrono::system_clock::time_point now) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (!curl) throw InternalError("expected libcurl to begin, found that it does not");
  const std::string path = percent_encoded(place.path);
  const std::string url = place.scheme + "://" + place.host + path;
  const HeaderList headers = list_of(signed_headers(place, path, credentials, body, now));
  std::string answer;
  char error[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, "PUT");
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // as Arrow, which asks no variable for one
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kRequestSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return {0, *error == '\0' ? curl_easy_strerror(code) : error};
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) return {200, ""};
  return {static_cast<int>(status), "HTTP " + std::to_string(status) + " " +
                                        element(answer, "Code") + ": " +
                                        element(answer, "Message")};
}

}  // namespace muster::launcher
