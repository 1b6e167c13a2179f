// One run of `baton bench serve` against one server.
#pragma once

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "boost/asio/io_context.hpp"

#include "common/tokenizer/tokenizer.h"
#include "tools/bench_serve/bench_options.h"
#include "tools/bench_serve/load_run.h"
#include "tools/bench_serve/prompts.h"
#include "tools/bench_serve/spec_decode.h"

namespace baton::bench {

class BenchSession final {
 public:
  // Both must outlive this. `err`: for progress and warnings.
  BenchSession(const BenchOptions& options, std::ostream& err) : options_(options), err_(err) {}

  // Finds server, model, tokenizer and prompts. Errors: NotFound (host, tokenizer, data set),
  // Unavailable (no answer), InvalidArgument.
  absl::Status Prepare();
  // Waits for a first good answer and warms up, as the options say; then the run. Errors:
  // Unavailable (the server never became ready).
  absl::StatusOr<LoadResult> Run();

  // Once prepared: the model's name in the requests.
  const std::string& model() const { return model_; }
  // Once run: what the server's /metrics says of its speculative decoding in that time.
  const std::optional<SpecDecodeFigures>& spec_decode() const { return spec_decode_; }

 private:
  absl::Status Resolve();
  // Body of the answer to a GET, as far as it came; `failure` is empty if it is whole.
  std::string Get(const std::string& path, std::string* failure);
  // Once all that was asked is counted.
  std::optional<SpecDecodeCounts> CountDrafts();
  absl::Status FindModel();
  absl::Status FindTokenizer();
  LoadRequest MakeRequest(const Prompt& prompt, size_t index) const;
  LoadResult Send(const std::vector<LoadRequest>& requests, std::vector<double> arrivals,
                  bool show_progress);
  absl::Status AwaitReady();
  void CountMissingTokens(LoadResult* result) const;

  const BenchOptions& options_;
  std::ostream& err_;
  boost::asio::io_context context_{1};
  HttpTarget target_;
  std::string model_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::vector<Prompt> prompts_;
  std::optional<SpecDecodeFigures> spec_decode_;
};

}  // namespace baton::bench
