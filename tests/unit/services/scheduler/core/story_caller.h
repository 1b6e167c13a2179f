// Who asked for a sequence of a random story, and what must be so when it ends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

struct StoryCaller {
  std::vector<TokenId> tokens;  // prompt, then what came
  uint32_t num_prompt = 0;
  uint32_t max_tokens = 0;
  std::string key;
  int32_t priority = 0;
  TimeUs deadline = kNever;
  bool began = false;
  bool ended = false;
  bool cancelled = false;
  uint32_t num_losses = 0;     // of a stage, with it in flight, since its last token
  uint32_t num_cut_links = 0;  // likewise
  uint32_t num_computed = 0;   // of its tokens, at most so far; what was computed may be lost again
  uint64_t last_step = 0;      // steps sent when that grew last
  TimeUs last_time = 0;        // the time then

  // More of its tokens are computed than ever before: `num_tokens`, in step `step`, at `now`.
  void Progress(uint32_t num_tokens, uint64_t step, TimeUs now) {
    num_computed = num_tokens;
    last_step = step;
    last_time = now;
  }

  // It must be over as `ending` says, at `now`; no sequence may have more than `max_len` tokens.
  void End(const Ending& ending, TimeUs now, uint32_t max_len);
};

}  // namespace baton::scheduler
