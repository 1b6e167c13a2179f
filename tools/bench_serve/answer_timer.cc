#include "tools/bench_serve/answer_timer.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace baton::bench {
namespace {

using Json = nlohmann::json;

// `json[key]` if it is a non-empty string.
absl::string_view Text(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) return "";
  return found->get_ref<const std::string&>();
}

uint32_t Count(const Json& usage, const char* key) {
  const auto found = usage.find(key);
  return found == usage.end() || !found->is_number_unsigned() ? 0 : found->get<uint32_t>();
}

}  // namespace

void AnswerTimer::OnEvent(double now, absl::string_view data) {
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  const Json chunk = Json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!chunk.is_object()) return OnFailure(absl::StrCat("not a chunk: ", data.substr(0, 200)));
  if (const auto error = chunk.find("error"); error != chunk.end()) {
    return OnFailure(error->is_object() ? Text(*error, "message") : data.substr(0, 200));
  }
  if (const auto usage = chunk.find("usage"); usage != chunk.end() && usage->is_object()) {
    record_.num_output_tokens = Count(*usage, "completion_tokens");
    if (const uint32_t count = Count(*usage, "prompt_tokens"); count > 0) {
      record_.num_prompt_tokens = count;
    }
  }
  const auto choices = chunk.find("choices");
  if (choices == chunk.end() || !choices->is_array() || choices->empty()) return;
  if (!has_chunk_) {
    record_.ttft = now - record_.start;
  } else {
    record_.itls.push_back(now - last_);
  }
  has_chunk_ = true;
  last_ = now;
  record_.latency = now - record_.start;
  const Json& choice = choices->front();
  if (!choice.is_object()) return;
  absl::StrAppend(&record_.text, Text(choice, "text"));
  if (const auto delta = choice.find("delta"); delta != choice.end() && delta->is_object()) {
    const absl::string_view reasoning = Text(*delta, "reasoning_content");
    absl::StrAppend(&record_.reasoning, reasoning.empty() ? Text(*delta, "reasoning") : reasoning);
    absl::StrAppend(&record_.text, Text(*delta, "content"));
  }
}

void AnswerTimer::OnEnd() {
  if (!record_.error.empty()) return;
  if (!has_chunk_) return OnFailure("the answer had no chunk with choices");
  if (!done_) return OnFailure("the stream ended before [DONE]");
  record_.success = true;
}

void AnswerTimer::OnFailure(absl::string_view error) {
  if (record_.error.empty()) record_.error = error.empty() ? "unknown error" : std::string(error);
}

}  // namespace baton::bench
