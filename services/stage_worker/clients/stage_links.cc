#include "services/stage_worker/clients/stage_links.h"

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

void StageLinks::Abort(const absl::Status& reason) {
  states_->Abort(reason);
  tokens_->Abort(reason);
}

}  // namespace baton::stage
