#include "services/gateway/http/request_target.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"

namespace baton::gateway {

RequestTarget ParseRequestTarget(absl::string_view target) {
  if (absl::StartsWithIgnoreCase(target, "http://") ||
      absl::StartsWithIgnoreCase(target, "https://")) {
    target.remove_prefix(target.find("//") + 2);
    const size_t path = target.find_first_of("/?");
    target.remove_prefix(path == absl::string_view::npos ? target.size() : path);
    if (target.empty()) target = "/";
  }
  const size_t mark = target.find('?');
  if (mark == absl::string_view::npos) return {std::string(target), ""};
  return {std::string(target.substr(0, mark)), std::string(target.substr(mark + 1))};
}

std::optional<std::string> DecodeEscapes(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '%') {
      if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
          !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]))) {
        return std::nullopt;
      }
      byte = static_cast<unsigned char>(absl::HexStringToBytes(text.substr(i + 1, 2))[0]);
      i += 2;
    }
    if (absl::ascii_iscntrl(byte)) return std::nullopt;
    decoded.push_back(static_cast<char>(byte));
  }
  return decoded;
}

std::string CleanRequestId(absl::string_view value) {
  if (value.empty() || value.size() > 128) return "";
  for (char c : value) {
    const bool allowed = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                         absl::string_view("-_.:").find(c) != absl::string_view::npos;
    if (!allowed) return "";
  }
  return std::string(value);
}

}  // namespace baton::gateway
