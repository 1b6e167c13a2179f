#include "services/gateway/admission/request_caps.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/sampling/sampling_limits.h"
#include "common/structured_output/compile_budget.h"

namespace baton::gateway {
namespace {

// As vLLM's: VLLM_MAX_N_SEQUENCES.
constexpr int64_t kMostChoices = 16'384;
constexpr int64_t kMostItems = 1 << 16;
constexpr int64_t kMostTextBytes = 1 << 16;
// Beyond them the scheduler refuses (services/scheduler/calls/submit_limits).
constexpr int64_t kMostStopTokens = 1024;
constexpr int64_t kMostSaltBytes = 256;
// A header may say the name, too, and has no more.
constexpr int64_t kMostRequestIdBytes = 128;
// A bad word is banned with and without a blank before it; a token has at least a byte.
constexpr int64_t kMostBadWords = kMaxBannedSequences / 2;
constexpr int64_t kMostBadWordBytes = kMaxBannedTokens / kMaxBannedSequences - 1;
// The last stage compiles constraints again, with the same bounds.
constexpr auto kMostSchemaBytes = static_cast<int64_t>(structured::CompileLimits().schema_bytes);
constexpr auto kMostRegexBytes = static_cast<int64_t>(structured::CompileLimits().regex_bytes);
constexpr auto kMostGrammarBytes = static_cast<int64_t>(structured::CompileLimits().text_bytes);
// What is written and rendered calls itself at each level.
constexpr int64_t kMostJsonDepth = 256;
constexpr int64_t kMostJsonValues = 1 << 24;

constexpr RequestCap kRows[] = {
    {&RequestCaps::num_choices, "num_choices", "max-n", 1, kMostChoices,
     "choices of a prompt (`n`)"},
    {&RequestCaps::prompts, "prompts", "max-prompts", 1, kMostItems,
     "prompts of a request, and conversations of a batch"},
    {&RequestCaps::sequences, "sequences", "max-sequences", 1, kMostItems, "prompts times choices"},
    {&RequestCaps::num_top_logprobs, "num_top_logprobs", "max-logprobs", 0, kMaxTopLogprobs,
     "log-probabilities of a token"},
    {&RequestCaps::prompt_logprobs, "prompt_logprobs", "max-prompt-logprobs", 1, 400'000,
     "log-probabilities of a prompt's tokens together"},
    {&RequestCaps::stop_strings, "stop_strings", "max-stop-strings", 1, 1024, "strings of `stop`"},
    {&RequestCaps::stop_string_bytes, "stop_string_bytes", "max-stop-string-bytes", 1,
     kMostTextBytes, "bytes of each"},
    {&RequestCaps::stop_token_ids, "stop_token_ids", "max-stop-token-ids", 1, kMostStopTokens,
     "`stop_token_ids`"},
    {&RequestCaps::logit_biases, "logit_biases", "max-logit-biases", 1, kMaxLogitBiases,
     "tokens of `logit_bias`"},
    {&RequestCaps::allowed_token_ids, "allowed_token_ids", "max-allowed-token-ids", 1,
     kMaxAllowedTokens, "`allowed_token_ids`"},
    {&RequestCaps::bad_words, "bad_words", "max-bad-words", 1, kMostBadWords, "`bad_words`"},
    {&RequestCaps::bad_word_bytes, "bad_word_bytes", "max-bad-word-bytes", 1, kMostBadWordBytes,
     "bytes of each"},
    {&RequestCaps::messages, "messages", "max-messages", 1, kMostItems,
     "messages of a conversation"},
    {&RequestCaps::tools, "tools", "max-tools", 1, kMostItems, "`tools`"},
    {&RequestCaps::stream_interval, "stream_interval", "max-stream-interval", 1, kMostItems,
     "tokens of an event (`stream_interval`)"},
    {&RequestCaps::cache_salt_bytes, "cache_salt_bytes", "max-cache-salt-bytes", 1, kMostSaltBytes,
     "bytes of `cache_salt`"},
    {&RequestCaps::request_id_bytes, "request_id_bytes", "max-request-id-bytes", 1,
     kMostRequestIdBytes, "characters of `request_id`"},
    {&RequestCaps::user_bytes, "user_bytes", "max-user-bytes", 1, kMostTextBytes,
     "bytes of `user`"},
    {&RequestCaps::schema_bytes, "schema_bytes", "max-schema-bytes", 1, kMostSchemaBytes,
     "bytes of a JSON schema that the answer follows"},
    {&RequestCaps::regex_bytes, "regex_bytes", "max-regex-bytes", 1, kMostRegexBytes,
     "bytes of a regular expression, and of a `whitespace_pattern`"},
    {&RequestCaps::grammar_bytes, "grammar_bytes", "max-grammar-bytes", 1, kMostGrammarBytes,
     "bytes of a grammar, or of all choices"},
    {&RequestCaps::json_depth, "json_depth", "max-json-depth", 3, kMostJsonDepth,
     "arrays and objects of a body inside one another"},
    {&RequestCaps::json_keys, "json_keys", "max-json-keys", 1, kMostItems, "keys of an object"},
    {&RequestCaps::json_values, "json_values", "max-json-values", 1, kMostJsonValues,
     "values of a body"},
};
static_assert(sizeof(RequestCaps) == sizeof(kRows) / sizeof(kRows[0]) * sizeof(int64_t));

}  // namespace

absl::Span<const RequestCap> RequestCapRows() { return kRows; }

std::string CapFlag(int64_t RequestCaps::*member) {
  const RequestCap* const row =
      std::find_if(std::begin(kRows), std::end(kRows),
                   [member](const RequestCap& candidate) { return candidate.member == member; });
  BATON_CHECK(row != std::end(kRows));
  return absl::StrCat("--", row->flag);
}

}  // namespace baton::gateway
