// Bounds on what one HTTP client may cost.
#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace baton::gateway {

struct HttpLimits {
  size_t request_line_bytes = 8 << 10;                // over it: 414
  size_t header_bytes = 32 << 10;                     // request line included; over it: 431
  size_t header_fields = 100;                         // over it: 431
  size_t body_bytes = 4 << 20;                        // over it: 413
  size_t total_body_bytes = 256 << 20;                // of all at once; over it: 503
  absl::Duration header_timeout = absl::Seconds(10);  // first byte to the end of the header: 408
  absl::Duration body_timeout = absl::Seconds(30);    // end of the header to the last byte: 408
  size_t body_bytes_per_second = 1 << 10;             // over each window of a body; less: 408
  absl::Duration body_window = absl::Seconds(5);
  absl::Duration idle_timeout = absl::Seconds(75);  // between requests: close
  // A client that takes less than so many bytes in so long, while more wait for it: close.
  absl::Duration write_timeout = absl::Seconds(30);
  size_t write_window_bytes = 1 << 10;
  // What a client still sends behind a refusal is read and dropped, that the answer is not lost:
  // until it sends nothing for so long, or body_timeout is over.
  absl::Duration linger_timeout = absl::Seconds(2);
  size_t pipelined_bytes = 64 << 10;  // read ahead of a running request; more waits in the kernel
  size_t unsent_bytes = 64 << 10;     // of a stream; past it its calls must pause
  size_t connections = 4096;          // more are answered 503 and closed; far more are closed
};

}  // namespace baton::gateway
