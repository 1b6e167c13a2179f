// What was seen of one request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton::bench {

struct RequestRecord {
  bool success = false;
  std::string error;               // why not
  double start = 0;                // seconds since the run began, when the request was sent
  double queue_time = 0;           // seconds that it was due before that: for --max-concurrency
  double ttft = 0;                 // seconds from there to the first chunk with choices
  double latency = 0;              // and to the last one
  std::vector<double> itls;        // seconds between chunks with choices
  uint32_t num_prompt_tokens = 0;  // as the server counts them, if it does
  uint32_t num_output_tokens = 0;
  std::string text;
  std::string reasoning;  // of a chat, before the text
};

}  // namespace baton::bench
