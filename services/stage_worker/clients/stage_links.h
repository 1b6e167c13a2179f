// Both ways between a stage and its neighbours, which share one transport, through epochs.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"
#include "services/stage_worker/clients/link_epoch.h"
#include "services/stage_worker/clients/stage_link.h"
#include "services/stage_worker/clients/token_link.h"
#include "services/stage_worker/execution/neighbour_waits.h"

namespace baton::stage {

// Threads: BeginEpoch and Abort from the control thread, OldestOf from any.
class StageLinks final {
 public:
  // `transport` must outlive the links. Errors: InvalidArgument (sizes).
  static absl::StatusOr<std::unique_ptr<StageLinks>> Create(Transport* transport,
                                                            const StageLinkOptions& states,
                                                            const TokenLinkOptions& tokens);

  // Ends the old epoch on both links, then connects for the new one: ending may break a connection,
  // and connecting takes one that stands. No device may be in a step. Errors: DeadlineExceeded,
  // Unavailable (a neighbour cannot be reached), InvalidArgument (addresses).
  absl::Status BeginEpoch(const LinkEpoch& epoch, absl::Time deadline);
  // Ends all waits of this epoch.
  void Abort(const absl::Status& reason);

  // Of what devices say that they wait for: the wait that has lasted longest, counted from when
  // something of its kind came last. Nullopt: each device has what it needs, or asks for nothing;
  // one whose thread has only not run since waits for no neighbour.
  std::optional<NeighbourWait> OldestOf(const std::vector<NeighbourWait>& waits) const;

  StageLink& states() { return *states_; }
  TokenLink& tokens() { return *tokens_; }

 private:
  StageLinks() = default;

  bool Lasts(const NeighbourWait& wait) const;

  std::unique_ptr<StageLink> states_;
  std::unique_ptr<TokenLink> tokens_;
};

}  // namespace baton::stage
