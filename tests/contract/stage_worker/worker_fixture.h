// A stage-worker's membership between a fake scheduler and a fake model-loader, with the demo
// model.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"

#include "kernels/api/ops.h"
#include "services/stage_worker/membership/stage_membership.h"
#include "tests/fakes/fake_model_loader.h"
#include "tests/fakes/fake_stage_scheduler.h"
#include "tests/fakes/memory_checkpoint.h"

namespace baton::stage {

// True once `holds` does: looks every millisecond, for what nothing tells of; false after 30 s.
bool WaitUntil(const std::function<bool()>& holds);

class WorkerFixture : public testing::Test {
 protected:
  WorkerFixture();
  ~WorkerFixture() override;

  // Starts the worker with options(), which a test may change before; again after StopWorker.
  void StartWorker();
  StageOptions& options() { return options_; }
  // Waits for Run to return by itself.
  absl::Status WaitForEnd();
  // Stops the worker and returns what Run returned.
  absl::Status StopWorker();

  // Two layers of the demo model as stage `index` of `num_stages`.
  v1::SchedulerMessage Plan(uint32_t index, uint32_t num_stages) const;
  // Takes `register`, sends `plan`, takes `ready`.
  void Register(const v1::SchedulerMessage& plan, v1::StageReady* ready = nullptr);
  // What topologies say of the scheduler from now on.
  void set_scheduler_nonce(uint32_t nonce) { scheduler_nonce_ = nonce; }
  void SendTopology(uint64_t epoch, const std::string& next_address,
                    const std::string& first_address = "");
  // Sends a topology and takes `joined`.
  void Join(uint64_t epoch, const std::string& next_address = "",
            const std::string& first_address = "");
  // A step that computes a prompt of three tokens as sequence `step_id` and samples.
  static v1::SchedulerMessage PromptStep(uint64_t epoch, uint64_t step_id);
  // A step that computes the token at `position` of a sequence, which step `feedback_step_id`
  // samples, and samples the next one.
  static v1::SchedulerMessage FedStep(uint64_t epoch, uint64_t step_id, uint64_t sequence_id,
                                      uint32_t position, uint64_t feedback_step_id);
  // Takes a report; its token, which stands at `position`.
  uint32_t TakeToken(uint64_t epoch, uint64_t step_id, uint32_t position = 3);

  fakes::FakeStageScheduler& scheduler() { return *scheduler_; }
  fakes::FakeModelLoader& loader() { return *loader_; }
  StageMembership& membership() { return *membership_; }
  // What the worker said last of whether steps may come.
  bool ready() const { return ready_; }
  const std::string& config_json() const { return config_json_; }

 private:
  std::string config_json_;
  uint32_t scheduler_nonce_ = 0;
  std::unique_ptr<fakes::FakeStageScheduler> scheduler_;
  std::unique_ptr<fakes::FakeModelLoader> loader_;
  StageOptions options_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<StageMetrics> metrics_;
  std::atomic<bool> ready_{false};
  std::unique_ptr<StageMembership> membership_;
  absl::Status result_;
  std::unique_ptr<absl::Notification> ended_;  // of the worker that was started last
  std::thread thread_;
};

}  // namespace baton::stage
