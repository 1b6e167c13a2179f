#include "services/stage_worker/stage_server.h"

#include <atomic>
#include <utility>

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::stage {

StageServer::StageServer(const StageConfig& config, ServerRuntime* runtime,
                         kernels::Backend* backend)
    : config_(config), runtime_(runtime), backend_(backend), metrics_(runtime->registry()) {}

absl::Status StageServer::Run() {
  // The service answers before the membership stands: nothing is held yet then.
  std::atomic<StageMembership*> membership{nullptr};
  StageStatusService service([&membership] {
    const StageMembership* made = membership.load();
    return made == nullptr ? StageSnapshot{} : made->snapshot();
  });
  runtime_->AddService(&service);
  runtime_->SetLiveCheck([&membership] {
    const StageMembership* made = membership.load();
    return made == nullptr ? absl::OkStatus() : made->CheckAlive(SteadyNow());
  });
  RETURN_IF_ERROR(runtime_->Start());
  config_.stage.status_address =
      AdvertisedAddress(config_.server.listen_address, runtime_->grpc_port(), config_.place);
  membership_ = std::make_unique<StageMembership>(
      config_.stage, backend_, &metrics_, [this](bool joined) { runtime_->SetReady(joined); });
  membership = membership_.get();

  absl::Status result;
  std::thread control([this, &result] {
    result = membership_->Run();
    runtime_->RequestShutdown(result.ok() ? "the membership has ended"
                                          : std::string(result.message()));
  });
  const absl::Status served = runtime_->RunUntilShutdown([this, &control](absl::Time deadline) {
    membership_->Stop(deadline);
    control.join();
  });
  if (control.joinable()) {  // the drain was skipped
    membership_->Stop(absl::InfinitePast());
    control.join();
  }
  RETURN_IF_ERROR(result);
  return served;
}

}  // namespace baton::stage
