// Times the chunks of one streamed answer.
//
// The definitions are those of `vllm bench serve`: the first chunk with choices ends the time to
// first token (of a chat that is the one with the role), every later one is an inter-token gap, the
// last one ends the latency. The number of tokens is the server's, from the chunk with `usage`.
#pragma once

#include "absl/strings/string_view.h"

#include "tools/bench_serve/request_record.h"

namespace baton::bench {

class AnswerTimer final {
 public:
  // `now`: seconds on the clock of `record->start`, which is set already.
  explicit AnswerTimer(RequestRecord* record) : record_(*record) {}

  // The data of one event, which came at `now`.
  void OnEvent(double now, absl::string_view data);
  // The answer has ended; decides whether it was a success. Nothing follows.
  void OnEnd();
  // The request failed. Nothing follows.
  void OnFailure(absl::string_view error);

 private:
  RequestRecord& record_;
  bool has_chunk_ = false;
  bool done_ = false;  // the stream was ended properly
  double last_ = 0;    // when the last chunk came
};

}  // namespace baton::bench
