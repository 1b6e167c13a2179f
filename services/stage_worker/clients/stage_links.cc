#include "services/stage_worker/clients/stage_links.h"

#include <algorithm>

#include "common/status/status_macros.h"

namespace baton::stage {

absl::StatusOr<std::unique_ptr<StageLinks>> StageLinks::Create(Transport* transport,
                                                               const StageLinkOptions& states,
                                                               const TokenLinkOptions& tokens) {
  std::unique_ptr<StageLinks> links(new StageLinks());
  ASSIGN_OR_RETURN(links->states_, StageLink::Create(transport, states));
  ASSIGN_OR_RETURN(links->tokens_, TokenLink::Create(transport, tokens));
  return links;
}

absl::Status StageLinks::BeginEpoch(const LinkEpoch& epoch, absl::Time deadline) {
  RETURN_IF_ERROR(tokens_->EndEpoch(deadline));
  RETURN_IF_ERROR(states_->EndEpoch(deadline));
  // First the slots for tokens: who sends them waits for nobody but its own next stage.
  RETURN_IF_ERROR(tokens_->BeginEpoch(epoch, deadline));
  return states_->BeginEpoch(epoch, deadline);
}

bool StageLinks::Lasts(const NeighbourWait& wait) const {
  switch (wait.frames) {
    case AwaitedFrames::kHiddenStates:
      return states_->IsAwaited(wait.step_id);
    case AwaitedFrames::kTokens:
      return tokens_->IsAwaited();
    case AwaitedFrames::kCredit:
      return states_->LacksCredit(wait.step_id) || tokens_->LacksCredit();
  }
  return false;
}

std::optional<NeighbourWait> StageLinks::OldestOf(const std::vector<NeighbourWait>& waits) const {
  std::optional<NeighbourWait> oldest;
  for (NeighbourWait wait : waits) {
    // Asked before quiet_since, so that what comes in between only shortens the wait.
    if (!Lasts(wait)) continue;
    if (wait.frames == AwaitedFrames::kHiddenStates) {
      wait.since = std::max(wait.since, states_->quiet_since());
    } else if (wait.frames == AwaitedFrames::kTokens) {
      wait.since = std::max(wait.since, tokens_->quiet_since());
    }
    if (!oldest.has_value() || wait.since < oldest->since) oldest = wait;
  }
  return oldest;
}

void StageLinks::Abort(const absl::Status& reason) {
  states_->Abort(reason);
  tokens_->Abort(reason);
}

}  // namespace baton::stage
