// Launches of draws and scores, and which tokens each thread looks at.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

// A block per row of logits; thread t takes the tokens t, t + kDrawThreads, ...
inline constexpr int kDrawThreads = 1024;
inline constexpr int kDrawWarps = kDrawThreads / kWarpThreads;
inline constexpr int kDrawDigits = 256;  // of a key, eight bits at a time

constexpr LaunchShape DrawRowsLaunch(int64_t rows) {
  return {.grid_x = rows, .block = kDrawThreads};
}
// A thread's entries of a list: [begin, end).
BATON_HOST_DEVICE constexpr Steps<int32_t> EntriesOfThread(int thread, int32_t begin, int32_t end) {
  return {begin + thread, kDrawThreads, end};
}
BATON_HOST_DEVICE constexpr Steps<int32_t> TokensOfThread(int thread, int32_t vocabulary) {
  return EntriesOfThread(thread, 0, vocabulary);
}
// Where all threads look at tokens together: thread t at token begin + t, if there is one.
BATON_HOST_DEVICE constexpr Steps<int32_t> TokenRounds(int32_t vocabulary) {
  return {0, kDrawThreads, vocabulary};
}

// Marks of a row's tokens, a bit each.
BATON_HOST_DEVICE constexpr int32_t MarkWords(int32_t vocabulary) { return (vocabulary + 31) / 32; }
struct TokenMark {
  int32_t word;
  uint32_t bit;
};
BATON_HOST_DEVICE constexpr TokenMark MarkOf(uint32_t token_id) {
  return {static_cast<int32_t>(token_id / 32), 1u << (token_id % 32)};
}

}  // namespace baton::kernels::cuda
