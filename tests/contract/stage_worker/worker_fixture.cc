#include "tests/contract/stage_worker/worker_fixture.h"

#include "absl/time/clock.h"

#include "common/model/model_config.h"
#include "kernels/reference/reference_backend.h"

namespace baton::stage {
namespace {

constexpr char kModel[] = BATON_SOURCE_DIR "/tests/data/tiny-r1";
constexpr absl::Duration kPatience = absl::Seconds(30);

// Read once: the same for every test.
const fakes::MemoryCheckpoint& Checkpoint() {
  static const auto* checkpoint =
      new fakes::MemoryCheckpoint(*fakes::MemoryCheckpoint::Read(kModel));
  return *checkpoint;
}

}  // namespace

bool WaitUntil(const std::function<bool()>& holds) {
  const absl::Time limit = absl::Now() + kPatience;
  while (!holds()) {
    if (absl::Now() > limit) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

WorkerFixture::WorkerFixture()
    : config_json_(*ReadModelConfigText(kModel)),
      scheduler_(std::make_unique<fakes::FakeStageScheduler>()),
      loader_(std::make_unique<fakes::FakeModelLoader>(config_json_, &Checkpoint())),
      backend_(kernels::CreateReferenceBackend()),
      metrics_(std::make_unique<StageMetrics>(std::make_shared<prometheus::Registry>())) {
  options_.scheduler_address = scheduler_->address();
  options_.model_loader_address = loader_->address();
  options_.num_ranks = 2;
  options_.kv_cache_bytes = 16 << 20;
  options_.backend = "reference";
  options_.status_address = "127.0.0.1:1";
  options_.scheduler_timeout = absl::Seconds(60);  // the fake scheduler sends no heartbeats
}

WorkerFixture::~WorkerFixture() {
  if (thread_.joinable()) {
    EXPECT_TRUE(StopWorker().ok());
  }
}

void WorkerFixture::StartWorker() {
  ended_ = std::make_unique<absl::Notification>();
  membership_ = std::make_unique<StageMembership>(options_, backend_.get(), metrics_.get(),
                                                  [this](bool joined) { ready_ = joined; });
  thread_ = std::thread([this] {
    result_ = membership_->Run();
    ended_->Notify();
  });
}

absl::Status WorkerFixture::WaitForEnd() {
  if (!ended_->WaitForNotificationWithTimeout(kPatience)) {
    return absl::DeadlineExceededError("the worker goes on");
  }
  thread_.join();
  return result_;
}

absl::Status WorkerFixture::StopWorker() {
  membership_->Stop(absl::Now() + kPatience);
  return WaitForEnd();
}

v1::SchedulerMessage WorkerFixture::Plan(uint32_t index, uint32_t num_stages) const {
  v1::SchedulerMessage message;
  v1::StagePlan* plan = message.mutable_plan();
  plan->set_stage_index(index);
  plan->set_num_stages(num_stages);
  plan->set_num_ranks(2);
  plan->mutable_layers()->set_begin(0);
  plan->mutable_layers()->set_end(2);
  plan->set_compute_type(v1::DATA_TYPE_BFLOAT16);
  plan->set_block_tokens(64);
  plan->set_max_model_len(256);
  plan->set_max_step_tokens(64);
  plan->set_max_step_sequences(8);
  plan->set_max_steps_in_flight(2);
  plan->set_model_fingerprint(ModelFingerprint(config_json_));
  return message;
}

void WorkerFixture::Register(const v1::SchedulerMessage& plan, v1::StageReady* ready) {
  const auto registration = scheduler_->Next(v1::WorkerMessage::kRegister);
  ASSERT_TRUE(registration.ok()) << registration.status();
  EXPECT_EQ(registration->sequence_number(), 0u);
  EXPECT_EQ(registration->register_().num_ranks(), 2u);
  EXPECT_EQ(registration->register_().backend(), "reference");
  scheduler_->Send(plan);
  const auto answer = scheduler_->Next(v1::WorkerMessage::kReady);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->ready().addresses_size(), 2);
  EXPECT_GE(answer->ready().num_blocks(), 4u);
  if (ready != nullptr) *ready = answer->ready();
}

void WorkerFixture::SendTopology(uint64_t epoch, const std::string& next_address,
                                 const std::string& first_address) {
  v1::SchedulerMessage message;
  message.mutable_topology()->set_epoch(epoch);
  message.mutable_topology()->set_num_blocks(8);
  message.mutable_topology()->set_scheduler_nonce(scheduler_nonce_);
  for (uint32_t rank = 0; rank < 2 && !next_address.empty(); ++rank) {
    v1::RankAddress* address = message.mutable_topology()->add_next_stage();
    address->set_rank(rank);
    address->set_ucx_address(next_address);
  }
  for (uint32_t rank = 0; rank < 2 && !first_address.empty(); ++rank) {
    v1::RankAddress* address = message.mutable_topology()->add_first_stage();
    address->set_rank(rank);
    address->set_ucx_address(first_address);
  }
  scheduler_->Send(message);
}

void WorkerFixture::Join(uint64_t epoch, const std::string& next_address,
                         const std::string& first_address) {
  SendTopology(epoch, next_address, first_address);
  const auto joined = scheduler_->Next(v1::WorkerMessage::kJoined);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->joined().epoch(), epoch);
}

v1::SchedulerMessage WorkerFixture::PromptStep(uint64_t epoch, uint64_t step_id) {
  v1::SchedulerMessage message;
  v1::StepCommand* step = message.mutable_step();
  step->set_epoch(epoch);
  step->set_step_id(step_id);
  v1::NewSequence* sequence = step->add_new_sequences();
  sequence->set_sequence_id(step_id);
  for (const uint32_t token : {5u, 70u, 900u}) sequence->add_token_ids(token);
  sequence->set_num_prompt_tokens(3);
  sequence->mutable_sampling()->set_top_p(1.0f);
  sequence->mutable_sampling()->set_repetition_penalty(1.0f);
  v1::SequenceChunk* chunk = step->add_chunks();
  chunk->set_sequence_id(step_id);
  chunk->set_num_tokens(3);
  chunk->add_new_block_ids(static_cast<uint32_t>(step_id - 1));
  chunk->set_sample(true);
  return message;
}

v1::SchedulerMessage WorkerFixture::FedStep(uint64_t epoch, uint64_t step_id, uint64_t sequence_id,
                                            uint32_t position, uint64_t feedback_step_id) {
  v1::SchedulerMessage message;
  message.mutable_step()->set_epoch(epoch);
  message.mutable_step()->set_step_id(step_id);
  v1::SequenceChunk* chunk = message.mutable_step()->add_chunks();
  chunk->set_sequence_id(sequence_id);
  chunk->set_begin(position);
  chunk->set_num_tokens(1);
  chunk->set_sample(true);
  chunk->set_feedback_step_id(feedback_step_id);
  return message;
}

uint32_t WorkerFixture::TakeToken(uint64_t epoch, uint64_t step_id, uint32_t position) {
  const auto report = scheduler_->Next(v1::WorkerMessage::kReport);
  EXPECT_TRUE(report.ok()) << report.status();
  if (!report.ok()) return 0;
  EXPECT_EQ(report->report().epoch(), epoch);
  EXPECT_EQ(report->report().step_id(), step_id);
  EXPECT_EQ(report->report().tokens_size(), 1);
  if (report->report().tokens_size() != 1) return 0;
  EXPECT_EQ(report->report().tokens(0).position(), position);
  return report->report().tokens(0).token_id();
}

}  // namespace baton::stage
