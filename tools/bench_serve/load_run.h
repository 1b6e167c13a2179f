// Sends the requests of a run and takes their answers, all on one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "boost/asio/io_context.hpp"

#include "tools/bench_serve/http_stream.h"
#include "tools/bench_serve/request_record.h"

namespace baton::bench {

struct LoadRequest {
  HttpStreamRequest http;
  uint32_t num_prompt_tokens = 0;  // 0: the server tells
};

struct LoadOptions {
  std::vector<double> arrivals;  // seconds; one per request
  int64_t max_concurrency = 0;   // 0: no limit
  // Called when a request has ended.
  std::function<void(int64_t num_ended, int64_t num_failed)> on_progress;
};

struct LoadResult {
  std::vector<RequestRecord> records;  // in the order of the requests
  double duration = 0;                 // seconds, until the last answer has ended
};

// A request is sent at its time of arrival, or when a place is free, whichever is later; what it
// waits for a place is not part of its times.
LoadResult RunLoad(boost::asio::io_context& context, const HttpTarget& target,
                   const std::vector<LoadRequest>& requests, const LoadOptions& options);

}  // namespace baton::bench
