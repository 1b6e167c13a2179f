#include "services/gateway/gateway_config_limits.h"

#include <algorithm>
#include <cstddef>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"

// What one request may ask for at most: admission/request_caps.
ABSL_FLAG(int64_t, max_n, 8, "choices of a prompt (n); --max-sequences bounds them, too");
ABSL_FLAG(int64_t, max_prompts, 64, "prompts of one completion, or conversations of a batch");
ABSL_FLAG(int64_t, max_sequences, 128, "prompts times choices of one request");
ABSL_FLAG(int64_t, max_logprobs, 20,
          "most alternatives of a token whose log-probabilities a request may ask for, 0 to 20");
ABSL_FLAG(int64_t, max_prompt_logprobs, 400'000, "log-probabilities of a prompt's tokens, at most");
ABSL_FLAG(int64_t, max_stop_strings, 4, "strings of stop");
ABSL_FLAG(int64_t, max_stop_string_bytes, 256, "bytes of each, which a stream may hold back");
ABSL_FLAG(int64_t, max_stop_token_ids, 1024, "ids of stop_token_ids, at most 1024");
ABSL_FLAG(int64_t, max_logit_biases, 1024, "tokens of logit_bias, at most 1024");
ABSL_FLAG(int64_t, max_allowed_token_ids, 65536, "ids of allowed_token_ids, at most 65536");
ABSL_FLAG(int64_t, max_bad_words, 128, "words of bad_words, at most 128");
ABSL_FLAG(int64_t, max_bad_word_bytes, 256, "bytes of each, at most 511");
ABSL_FLAG(int64_t, max_messages, 2048, "messages of a conversation");
ABSL_FLAG(int64_t, max_tools, 128, "tools of a request");
ABSL_FLAG(int64_t, max_stream_interval, 1024, "tokens of an event (stream_interval)");
ABSL_FLAG(int64_t, max_cache_salt_bytes, 256, "bytes of cache_salt, at most 256");
ABSL_FLAG(int64_t, max_request_id_bytes, 128, "characters of request_id, at most 128");
ABSL_FLAG(int64_t, max_user_bytes, 512, "bytes of user");
ABSL_FLAG(int64_t, max_schema_bytes, 65536, "bytes of an answer's JSON schema, at most 65536");
ABSL_FLAG(int64_t, max_regex_bytes, 2048,
          "bytes of a regular expression or whitespace_pattern, at most 2048");
ABSL_FLAG(int64_t, max_grammar_bytes, 262144, "bytes of a grammar or all choices, at most 262144");
ABSL_FLAG(int64_t, max_json_depth, 64, "arrays and objects of a body inside one another");
ABSL_FLAG(int64_t, max_json_keys, 4096, "keys of an object of a body");
ABSL_FLAG(int64_t, max_json_values, 1 << 20, "values of a body");
ABSL_FLAG(int, max_connections, 4096, "HTTP connections at a time; more are answered 503");
ABSL_FLAG(int, max_body_mib, 4, "MiB of the largest HTTP request body");
ABSL_FLAG(
    int, max_total_body_mib, 0,
    "MiB of all HTTP request bodies that have come and are not read yet, but for the first "
    "16 KiB of each; an eighth is kept for API keys with few bytes; a request whose body does "
    "not fit is answered 503; 0: 256, or --max-body-mib if that is more");
ABSL_FLAG(int, max_request_line_bytes, 8 << 10, "bytes of a request line; more is a 414");
ABSL_FLAG(int, max_header_bytes, 32 << 10, "bytes of a request's header; more is a 431");
ABSL_FLAG(int, max_header_fields, 100, "fields of a request's header; more is a 431");
ABSL_FLAG(absl::Duration, header_timeout, absl::Seconds(10), "time for a header to arrive; 408");
ABSL_FLAG(absl::Duration, body_timeout, absl::Seconds(30), "time for a body to arrive; 408");
ABSL_FLAG(int, min_body_rate, 1 << 10, "bytes a second, over 5 s, that a body comes with; 408");
ABSL_FLAG(absl::Duration, idle_timeout, absl::Seconds(75),
          "a connection without requests for so long is closed");
ABSL_FLAG(absl::Duration, write_timeout, absl::Seconds(30),
          "a client whose answer waits has to confirm 1 KiB of it in each such time; else it is "
          "dropped");

namespace baton::gateway {
namespace {

constexpr size_t kUsualTotalBodyMib = 256;

}  // namespace

absl::Status CheckRange(absl::string_view flag, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", value, "; wanted ", low, " to ", high));
}

absl::Status CheckTime(absl::string_view flag, absl::Duration value, LeastTime least) {
  const bool enough =
      least == LeastTime::kZero ? value >= absl::ZeroDuration() : value > absl::ZeroDuration();
  if (enough && value <= kMostTime) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", absl::FormatDuration(value), "; wanted ",
                   least == LeastTime::kZero ? "0" : "more than 0", " to ",
                   absl::ToInt64Hours(kMostTime), "h (a year)"));
}

absl::StatusOr<RequestCaps> ReadRequestCaps() {
  RequestCaps caps;
  for (const RequestCap& cap : RequestCapRows()) {
    const absl::CommandLineFlag* const flag =
        absl::FindCommandLineFlag(absl::StrReplaceAll(cap.flag, {{"-", "_"}}));
    BATON_CHECK(flag != nullptr && flag->IsOfType<int64_t>());
    caps.*cap.member = *flag->TryGet<int64_t>();
    RETURN_IF_ERROR(CheckRange(cap.flag, caps.*cap.member, cap.least, cap.most));
  }
  return caps;
}

absl::StatusOr<HttpLimits> ReadHttpLimits() {
  HttpLimits limits;
  const auto read = [](const char* name, int value, int low, int high, size_t* limit) {
    *limit = static_cast<size_t>(value);
    return CheckRange(name, value, low, high);
  };
  RETURN_IF_ERROR(read("max-connections", absl::GetFlag(FLAGS_max_connections), 1, 1 << 20,
                       &limits.connections));
  RETURN_IF_ERROR(
      read("max-body-mib", absl::GetFlag(FLAGS_max_body_mib), 1, 1024, &limits.body_bytes));
  RETURN_IF_ERROR(read("max-total-body-mib", absl::GetFlag(FLAGS_max_total_body_mib), 0, 1 << 20,
                       &limits.total_body_bytes));
  if (limits.total_body_bytes == 0) {
    limits.total_body_bytes = std::max(kUsualTotalBodyMib, limits.body_bytes);
  }
  if (limits.total_body_bytes < limits.body_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max-total-body-mib is ", limits.total_body_bytes, "; wanted --max-body-mib (",
        limits.body_bytes, ") or more: the largest body would never fit"));
  }
  limits.body_bytes <<= 20;
  limits.total_body_bytes <<= 20;
  RETURN_IF_ERROR(read("max-request-line-bytes", absl::GetFlag(FLAGS_max_request_line_bytes), 64,
                       1 << 20, &limits.request_line_bytes));
  RETURN_IF_ERROR(read("max-header-bytes", absl::GetFlag(FLAGS_max_header_bytes), 256, 4 << 20,
                       &limits.header_bytes));
  RETURN_IF_ERROR(read("max-header-fields", absl::GetFlag(FLAGS_max_header_fields), 1, 4096,
                       &limits.header_fields));
  RETURN_IF_ERROR(read("min-body-rate", absl::GetFlag(FLAGS_min_body_rate), 1, 1 << 30,
                       &limits.body_bytes_per_second));
  const auto read_time = [](const char* name, absl::Duration value, absl::Duration* limit) {
    *limit = value;
    return CheckTime(name, value, LeastTime::kMoreThanZero);
  };
  RETURN_IF_ERROR(
      read_time("header-timeout", absl::GetFlag(FLAGS_header_timeout), &limits.header_timeout));
  RETURN_IF_ERROR(
      read_time("body-timeout", absl::GetFlag(FLAGS_body_timeout), &limits.body_timeout));
  RETURN_IF_ERROR(
      read_time("idle-timeout", absl::GetFlag(FLAGS_idle_timeout), &limits.idle_timeout));
  RETURN_IF_ERROR(
      read_time("write-timeout", absl::GetFlag(FLAGS_write_timeout), &limits.write_timeout));
  return limits;
}

}  // namespace baton::gateway
