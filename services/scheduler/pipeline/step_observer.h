// What the step loop tells whoever measures it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// Why a stage was lost.
enum class LossCause {
  kStage,  // it died, hung, broke the protocol, or left by itself
  kLink,   // the link between it and a neighbour is cut, though both live
  kJoin,   // it found its neighbours not
};
inline constexpr size_t kNumLossCauses = 3;
inline constexpr std::array<const char*, kNumLossCauses> kLossCauseNames = {"stage", "link",
                                                                            "join"};

// Called by the step loop only, but OnRefused, which any thread calls; must not block.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // A step is done on every stage, `duration` after it was sent.
  virtual void OnStep(uint32_t num_rows, uint32_t num_tokens, absl::Duration duration) = 0;
  // A sequence took part in its first step, `waited` after it was submitted.
  virtual void OnStart(absl::Duration waited) = 0;
  virtual void OnTokens(uint64_t num_tokens) = 0;
  // A request was refused; `reason` is one of few.
  virtual void OnRefused(absl::string_view reason) = 0;
  // Requests ended because their deadline passed.
  virtual void OnExpired(uint64_t num_requests) = 0;
  // A request ended because its caller took none of its tokens for too long.
  virtual void OnStalledReader() = 0;
  // What steps are predicted to cost by now.
  virtual void OnStepCost(const StepCost& cost) = 0;
  // A stage was lost, or refused to go on, while the scheduler serves.
  virtual void OnStageLost(LossCause cause) = 0;
  // A group that had served is complete again, `duration` after its stage was lost.
  virtual void OnRecovery(absl::Duration duration) = 0;
  virtual void OnCounts(const ScheduleCounts& counts, uint64_t epoch, bool ready) = 0;
};

}  // namespace baton::scheduler
