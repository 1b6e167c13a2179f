// What a caller of the scheduler may leave unread, and for how long. A sequence whose caller does
// not take its tokens is suspended: nothing more is computed of it until the caller has caught up.
#pragma once

#include "absl/time/time.h"

namespace baton {

// Tokens of one sequence that wait behind what gRPC has taken of them (some 64 KiB); with as many
// the sequence is suspended, with less than a quarter of them it goes on.
inline constexpr int kMaxUnreadTokens = 1024;

// Tokens of one message, at most: with 20 log-probabilities each some 26 KiB, which whoever reads
// at all has taken before long.
inline constexpr int kMaxMessageTokens = 64;

// A suspended sequence whose caller takes nothing for so long is cancelled. Twice what the gateway
// gives its clients (HttpLimits::write_timeout): it knows them, and is the first to say which of
// them has stalled; a client that takes as little as it lets pass is behind for longer than once.
inline constexpr absl::Duration kReaderStallTimeout = absl::Seconds(60);

}  // namespace baton
