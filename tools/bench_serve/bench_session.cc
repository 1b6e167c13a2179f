#include "tools/bench_serve/bench_session.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "tools/bench_serve/progress_bar.h"
#include "tools/bench_serve/request_body.h"

namespace baton::bench {
namespace {

constexpr absl::Duration kReadyInterval = absl::Milliseconds(500);
// Baton's gateway counts drafts when the scheduler reports them, four times a second under load.
constexpr absl::Duration kCountsInterval = absl::Milliseconds(500);

std::string TokenizerFile(const std::string& folder) {
  return (std::filesystem::path(folder) / "tokenizer.json").string();
}

// "/v1/completions", "/v1/chat/completions" -> "/v1/models".
std::string ModelsPath(absl::string_view endpoint) {
  endpoint = absl::StripSuffix(absl::StripSuffix(endpoint, "/completions"), "/chat");
  return absl::StrCat(endpoint, "/models");
}

std::string FirstModel(const std::string& body) {
  const nlohmann::json list = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!list.is_object() || !list.contains("data")) return "";
  const nlohmann::json& data = list["data"];
  if (!data.is_array() || data.empty() || !data[0].is_object()) return "";
  return data[0].value("id", "");
}

}  // namespace

absl::Status BenchSession::Prepare() {
  RETURN_IF_ERROR(Resolve());
  RETURN_IF_ERROR(FindTokenizer());
  RETURN_IF_ERROR(FindModel());
  PromptOptions prompts = options_.prompts;
  prompts.as_text = tokenizer_ != nullptr || options_.api == Api::kChat;
  ASSIGN_OR_RETURN(prompts_, MakePrompts(prompts, tokenizer_.get(), options_.num_prompts,
                                         static_cast<uint64_t>(options_.seed)));
  return absl::OkStatus();
}

absl::Status BenchSession::Resolve() {
  boost::asio::ip::tcp::resolver resolver(context_);
  boost::system::error_code error;
  target_.endpoints = resolver.resolve(options_.host, std::to_string(options_.port), error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot find ", options_.host, ": ", error.message()));
  }
  target_.host = absl::StrCat(options_.host, ":", options_.port);
  if (options_.tls) {
    target_.tls = MakeTlsContext(/*check=*/!options_.insecure);
    target_.server_name = options_.host;
  }
  if (const char* key = std::getenv("OPENAI_API_KEY"); key != nullptr && *key != '\0') {
    target_.headers.emplace_back("Authorization", absl::StrCat("Bearer ", key));
  }
  for (const auto& header : options_.headers) target_.headers.push_back(header);
  return absl::OkStatus();
}

absl::Status BenchSession::FindTokenizer() {
  std::string folder = options_.tokenizer;
  std::error_code ignored;
  if (folder.empty() && std::filesystem::exists(TokenizerFile(options_.model), ignored)) {
    folder = options_.model;
  }
  if (folder.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(tokenizer_, Tokenizer::CreateFromFile(TokenizerFile(folder)));
  return absl::OkStatus();
}

absl::Status BenchSession::FindModel() {
  model_ = options_.served_model_name.empty() ? options_.model : options_.served_model_name;
  if (!model_.empty()) return absl::OkStatus();
  std::string failure;
  const std::string path = ModelsPath(options_.endpoint);
  model_ = FirstModel(Get(path, &failure));
  if (!model_.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(options_.tls ? "https://" : "http://", target_.host,
                                             path, " names no model (give --model): ", failure));
}

std::string BenchSession::Get(const std::string& path, std::string* failure) {
  std::string body;
  HttpStream::Start(context_, target_, {.method = "GET", .path = path, .timeout_sec = 30},
                    {.on_piece = [&](absl::string_view piece) { absl::StrAppend(&body, piece); },
                     .on_end = [&](int, const std::string& error) { *failure = error; }});
  context_.restart();
  context_.run();
  return body;
}

std::optional<SpecDecodeCounts> BenchSession::CountDrafts() {
  const auto read = [this]() -> std::optional<SpecDecodeCounts> {
    std::string failure;
    const std::string metrics = Get(absl::StrCat(options_.base_path, "/metrics"), &failure);
    if (!failure.empty()) return std::nullopt;  // endpoints need not have it
    return ReadSpecDecodeCounts(metrics);
  };
  return ReadSettledCounts(read, [] { absl::SleepFor(kCountsInterval); });
}

LoadRequest BenchSession::MakeRequest(const Prompt& prompt, size_t index) const {
  return {.http = {.path = options_.endpoint,
                   .body = RequestBody(options_, model_, prompt),
                   .headers = {{"X-Request-Id", absl::StrCat(options_.request_id_prefix, index)}},
                   .timeout_sec = options_.request_timeout_sec},
          .num_prompt_tokens = prompt.num_tokens};
}

LoadResult BenchSession::Send(const std::vector<LoadRequest>& requests,
                              std::vector<double> arrivals, bool show_progress) {
  ProgressBar progress(err_, static_cast<int64_t>(requests.size()));
  LoadOptions load{.arrivals = std::move(arrivals), .max_concurrency = options_.max_concurrency};
  if (show_progress) {
    load.on_progress = [&progress](int64_t num_ended, int64_t num_failed) {
      progress.Show(num_ended, num_failed);
    };
  }
  return RunLoad(context_, target_, requests, load);
}

absl::Status BenchSession::AwaitReady() {
  const absl::Time deadline = absl::Now() + absl::Seconds(options_.ready_check_timeout_sec);
  while (true) {
    const LoadResult result = Send({MakeRequest(prompts_.front(), 0)}, {0}, false);
    if (result.records[0].success) return absl::OkStatus();
    if (absl::Now() + kReadyInterval > deadline) {
      return absl::UnavailableError(
          absl::StrCat("the server at ", target_.host, " is not ready: ", result.records[0].error));
    }
    absl::SleepFor(kReadyInterval);
  }
}

// A server that reports no usage: counted with the tokenizer, or else chunks are taken for tokens.
void BenchSession::CountMissingTokens(LoadResult* result) const {
  bool missing = false;
  for (RequestRecord& record : result->records) {
    if (!record.success || record.num_output_tokens > 0) continue;
    missing = true;
    record.num_output_tokens = static_cast<uint32_t>(record.itls.size()) + 1;
    if (tokenizer_ == nullptr) continue;
    const auto ids = tokenizer_->Encode(absl::StrCat(record.reasoning, record.text));
    if (ids.ok()) record.num_output_tokens = static_cast<uint32_t>(ids->size());
  }
  if (missing) {
    err_ << "baton: the server reports no usage; output tokens were counted here"
         << (tokenizer_ == nullptr ? ", one per chunk" : "") << "\n";
  }
}

absl::StatusOr<LoadResult> BenchSession::Run() {
  if (options_.ready_check_timeout_sec > 0) RETURN_IF_ERROR(AwaitReady());
  if (options_.num_warmups > 0) {
    const std::vector<LoadRequest> warmups(static_cast<size_t>(options_.num_warmups),
                                           MakeRequest(prompts_.front(), 0));
    Send(warmups, std::vector<double>(warmups.size()), false);
  }
  std::vector<LoadRequest> requests;
  for (const Prompt& prompt : prompts_) requests.push_back(MakeRequest(prompt, requests.size()));
  const std::optional<SpecDecodeCounts> before = CountDrafts();
  LoadResult result = Send(
      requests,
      ArrivalTimes(options_.arrivals, options_.num_prompts, static_cast<uint64_t>(options_.seed)),
      !options_.disable_progress && isatty(STDERR_FILENO) == 1);
  spec_decode_ = SpecDecodeBetween(before, CountDrafts());
  CountMissingTokens(&result);
  return result;
}

}  // namespace baton::bench
