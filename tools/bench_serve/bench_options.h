// What one `baton bench serve` command asks for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "tools/bench_serve/arrivals.h"

namespace baton::bench {

enum class Api { kCompletions, kChat };
enum class Dataset { kRandom, kCustom, kPrefixRepetition, kShareGpt };

// "ttft", "tpot", "itl", "e2el"; with --max-concurrency "client_queue_time", with a rate too
// "e2el_including_client_queue".
using MetricName = std::string;

struct PromptOptions {
  Dataset dataset = Dataset::kRandom;
  std::string path;  // of a custom data set or of conversations
  int64_t input_len = 1024;
  int64_t output_len = 128;
  double range_ratio = 0;
  int64_t prefix_len = 0;
  int64_t custom_output_len = 256;
  int64_t repetition_prefix_len = 256;
  int64_t repetition_suffix_len = 256;
  int64_t num_prefixes = 10;
  int64_t repetition_output_len = 128;
  int64_t sharegpt_output_len = 0;  // 0: as long as the answer in the conversation
  int64_t vocab_size = 1000;        // token ids of prompts are below it, if there is no tokenizer
  bool as_text = false;             // prompts travel as text, not as token ids
};

struct BenchOptions {
  Api api = Api::kCompletions;
  std::string backend = "openai";  // as it was given
  std::string host = "127.0.0.1";
  int64_t port = 8000;
  bool tls = false;
  bool insecure = false;                     // with TLS any certificate is good
  std::string base_path;                     // of the base URL, without a / at its end
  std::string endpoint = "/v1/completions";  // with base_path before it
  std::string model;                         // empty: the first that the server names
  std::string served_model_name;             // empty: `model`
  std::string tokenizer;                     // a folder, or empty

  int64_t num_prompts = 1000;
  ArrivalOptions arrivals;
  int64_t max_concurrency = 0;  // 0: no limit
  int64_t num_warmups = 0;
  int64_t ready_check_timeout_sec = 0;
  int64_t request_timeout_sec = 6 * 60 * 60;
  int64_t seed = 0;
  PromptOptions prompts;

  bool ignore_eos = false;
  std::map<std::string, std::string> sampling;  // JSON numbers by the request's field
  std::vector<std::pair<std::string, std::string>> headers;
  std::string extra_body;  // a JSON object, or empty
  std::string request_id_prefix;

  std::vector<MetricName> percentile_metrics = {"ttft", "tpot", "itl"};
  std::vector<double> percentiles = {99};
  std::map<MetricName, double> goodput;  // milliseconds

  bool save_result = false;
  bool save_detailed = false;
  bool append_result = false;  // to the file, if there is one
  bool disable_progress = false;
  std::string result_dir;
  std::string result_filename;
  std::string label;
  std::vector<std::pair<std::string, std::string>> metadata;
  bool help = false;
  std::vector<std::string> warnings;  // lines for the user
};

// Errors: InvalidArgument with a line for the user.
absl::StatusOr<BenchOptions> ParseBenchOptions(const std::vector<std::string>& words);

// Text of `baton bench serve --help`.
std::string BenchHelp();

}  // namespace baton::bench
