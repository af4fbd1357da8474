// The header, read event by event: a hostile one of 100 MB costs its own size and no more.
#include <array>
#include <set>
#include <utility>

#include "muster/base/error.h"
#include "muster/base/json.h"
#include "safetensors_format.h"

namespace muster::checkpoint::internal {
namespace {

struct NamedDtype {
  DType dtype;
  std::string_view name;
};

// In the order of the reference implementation's files.
constexpr std::array<NamedDtype, 10> kDtypes = {{{DType::kInt64, "I64"},
                                                 {DType::kFloat64, "F64"},
                                                 {DType::kFloat32, "F32"},
                                                 {DType::kInt32, "I32"},
                                                 {DType::kBFloat16, "BF16"},
                                                 {DType::kFloat16, "F16"},
                                                 {DType::kInt16, "I16"},
                                                 {DType::kInt8, "I8"},
                                                 {DType::kUInt8, "U8"},
                                                 {DType::kBool, "BOOL"}}};

constexpr const char* kAdvice = "; the file is damaged or no safetensors file: get it again";

// Long texts are cut: a message is one line.
std::string shown(const std::string& text) {
  constexpr std::size_t kMaxShown = 60;
  return Json(text.substr(0, kMaxShown)).dump(-1, ' ', true, Json::error_handler_t::replace) +
         (text.size() > kMaxShown ? "..." : "");
}

/// Hears the header's JSON from the parser. A callback that throws ends the parse.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& origin) : origin_(origin) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override {
    // The reference takes "__metadata__": null for none.
    if (place_ == Place::kHeader && key_ == kSafetensorsMetadata) return true;
    return scalar("null");
  }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(text); }
  bool binary(binary_t&) override { return scalar("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kShape && place_ != Place::kOffsets) return scalar(std::to_string(value));
    if (!std::in_range<std::int64_t>(value)) {
      refuse(where() + ": expected numbers below 2^63, found " + std::to_string(value));
    }
    (place_ == Place::kShape ? shape_ : offsets_).push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      if (!header_.metadata.emplace(key_, value).second) refuse_twice("metadata " + shown(key_));
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return scalar(shown(value));
    dtype_ = dtype_from_safetensors(value);
    if (!dtype_) {
      throw CheckpointError(
          origin_ + ": " + where() +
          ": expected a dtype that checkpoints can hold (F64, F32, F16, BF16, I64, "
          "I32, I16, I8, U8, BOOL), found " +
          shown(value) + "; convert the tensor, or get the file again");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::kTop:
        place_ = Place::kHeader;
        return true;
      case Place::kHeader:
        place_ = key_ == kSafetensorsMetadata ? Place::kMetadata : Place::kTensor;
        if (place_ == Place::kTensor) begin_tensor();
        return true;
      default:
        return skip("an object");
    }
  }

  bool key(string_t& name) override {
    if (place_ == Place::kIgnored) return true;
    key_ = name;
    if (place_ == Place::kTensor && !fields_.insert(name).second) {
      refuse_twice(where());
    }
    return true;
  }

  bool end_object() override {
    switch (place_) {
      case Place::kHeader:
        place_ = Place::kTop;
        return true;
      case Place::kMetadata:
        place_ = Place::kHeader;
        return true;
      case Place::kTensor:
        end_tensor();
        place_ = Place::kHeader;
        return true;
      default:
        return leave();
    }
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      return skip("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kIgnored) return leave();
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    refuse("expected JSON in the header, found at its byte " + std::to_string(position) + ": " +
           error.what());
  }

 private:
  enum class Place { kTop, kHeader, kMetadata, kTensor, kShape, kOffsets, kIgnored };

  [[noreturn]] void refuse(const std::string& text) const {
    throw CheckpointError(origin_ + ": " + text + kAdvice);
  }

  [[noreturn]] void refuse_twice(const std::string& what) const {
    refuse(what + ": expected each name once, found it twice");
  }

  std::string where() const {
    if (place_ == Place::kTop) return "header";
    if (place_ == Place::kHeader) return "header, " + shown(key_);
    if (place_ == Place::kMetadata) return "metadata " + shown(key_);
    return "tensor " + shown(name_) + ", '" + key_ + "'";
  }

  bool is_known_field() const {
    return key_ == "dtype" || key_ == "shape" || key_ == "data_offsets";
  }

  const char* expected() const {
    switch (place_) {
      case Place::kTop:
      case Place::kHeader:
        return "an object";
      case Place::kMetadata:
        return "text";
      case Place::kTensor:
        return key_ == "dtype" ? "text" : "an array of numbers";
      default:
        return "a number of 0 or more";
    }
  }

  /// Fields of a tensor that this format does not have are passed over, as the reference does.
  bool is_unknown_field() const { return place_ == Place::kTensor && !is_known_field(); }

  bool scalar(const std::string& found) const {
    if (place_ == Place::kIgnored || is_unknown_field()) return true;
    refuse(where() + ": expected " + expected() + ", found " + found);
  }

  bool skip(const char* found) {
    if (place_ == Place::kIgnored || is_unknown_field()) {
      place_ = Place::kIgnored;
      ++ignored_depth_;
      return true;
    }
    return scalar(found);
  }

  bool leave() {
    if (--ignored_depth_ == 0) place_ = Place::kTensor;
    return true;
  }

  void begin_tensor() {
    name_ = key_;
    fields_.clear();
    shape_.clear();
    offsets_.clear();
    dtype_.reset();
  }

  void end_tensor() {
    key_ = "";
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) {
        refuse("tensor " + shown(name_) + ": expected a field '" + field + "', found none");
      }
    }
    if (offsets_.size() != 2) {
      refuse("tensor " + shown(name_) + ": expected two data_offsets, found " +
             std::to_string(offsets_.size()));
    }
    const std::int64_t bytes = checked_bytes();
    if (offsets_[1] - offsets_[0] != bytes) {
      refuse("tensor " + shown(name_) + ": expected data_offsets that are the " +
             std::to_string(bytes) + " bytes of its dtype and shape apart, found " +
             std::to_string(offsets_[0]) + " and " + std::to_string(offsets_[1]));
    }
    SafetensorsEntry entry{*dtype_, std::move(shape_), offsets_[0], bytes};
    if (!header_.tensors.emplace(name_, std::move(entry)).second) {
      refuse_twice("tensor " + shown(name_));
    }
  }

  std::int64_t checked_bytes() const {
    try {
      return checked_numel(shown(name_), *dtype_, shape_) * dtype_bytes(*dtype_);
    } catch (const CheckpointError& error) {
      refuse(error.what());
    }
  }

  const std::string& origin_;
  SafetensorsHeader header_;
  Place place_ = Place::kTop;
  std::int64_t ignored_depth_ = 0;
  std::string key_;
  // The tensor being read.
  std::string name_;
  std::set<std::string> fields_;
  std::optional<DType> dtype_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace

std::string_view safetensors_dtype_name(DType dtype) {
  return kDtypes[static_cast<std::size_t>(safetensors_order(dtype))].name;
}

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  for (const NamedDtype& one : kDtypes) {
    if (one.name == name) return one.dtype;
  }
  return std::nullopt;
}

int safetensors_order(DType dtype) {
  for (std::size_t i = 0; i < kDtypes.size(); ++i) {
    if (kDtypes[i].dtype == dtype) return static_cast<int>(i);
  }
  throw InternalError("expected a known dtype, found number " +
                      std::to_string(static_cast<int>(dtype)));
}

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin) {
  HeaderReader reader(origin);
  Json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

}  // namespace muster::checkpoint::internal
