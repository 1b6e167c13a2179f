// What the scheduler costs: forming and completing a step in the pure core, and the whole way of a
// token through a real scheduler (Submit, step command, report, response) with a stage-worker that
// computes nothing.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <malloc.h>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

#include "common/log/log.h"
#include "common/rpc/peer.h"
#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "services/scheduler/core/schedule.h"
#include "services/scheduler/scheduler_server.h"
#include "tests/fakes/fake_stage_worker.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kMaxLen = 4096;

// Of the whole process.
std::atomic<uint64_t> g_num_allocations = 0;
std::atomic<int64_t> g_live_bytes = 0;

// Prices of two stages that are like DeepSeek-R1's.
StepCostOptions PriorOfTwoStages() {
  return {
      .prior = std::vector<CostTerms>(2, {.values = {3e-4, 9e-3, 3e-6, 8e-9, 9e-8, 4e-10, 3e-7}}),
      .expert_share = 1.0 / 32};
}

// One decode step of `range` sequences.
void CoreDecodeStep(benchmark::State& state) {
  const uint32_t num_sequences = static_cast<uint32_t>(state.range(0));
  ScheduleOptions options;
  options.max_model_len = kMaxLen;
  options.vocab_size = 1024;
  options.max_running = num_sequences;
  Schedule schedule(options);
  schedule.OpenEpoch(num_sequences * kMaxLen / 64);
  SequenceId next_id = 1;
  for (auto _ : state) {
    while (schedule.counts().num_running + schedule.counts().num_waiting < num_sequences) {
      SequenceRequest request;
      request.id = next_id++;
      request.prompt = {2, 3, 4};
      request.stop.max_tokens = kMaxLen;
      benchmark::DoNotOptimize(schedule.Add(std::move(request)));
    }
    const Batch batch = *schedule.NextBatch();
    StepResult result{.step_id = batch.step_id};
    for (const BatchRow& row : batch.rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
    }
    benchmark::DoNotOptimize(schedule.Complete(result));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(CoreDecodeStep)->Arg(1)->Arg(32)->Arg(256)->Unit(benchmark::kMicrosecond);

// How a queue stands beside 256 places.
struct QueueShape {
  uint32_t num_waiting = 0;
  uint32_t num_keys = 64;
  uint32_t num_blocks = 256 * kMaxLen / 64;
  bool has_prior = false;  // the stages' times are known
};

// Forming and completing one step of 256 sequences beside a queue; their arrival is not part of the
// time.
void StepBesideAQueue(benchmark::State& state, const QueueShape& shape) {
  constexpr uint32_t kRunning = 256;
  ScheduleOptions options;
  options.max_model_len = kMaxLen;
  options.vocab_size = 1024;
  options.max_running = kRunning;
  options.max_waiting = shape.num_waiting + kRunning;
  if (shape.has_prior) options.step_cost = PriorOfTwoStages();
  Schedule schedule(options);
  schedule.OpenEpoch(shape.num_blocks);
  SequenceId next_id = 1;
  TimeUs now = 0;
  for (auto _ : state) {
    const auto num_live = [&schedule] {
      const ScheduleCounts counts = schedule.counts();
      return counts.num_running + counts.num_waiting + counts.num_paused;
    };
    while (num_live() < kRunning + shape.num_waiting) {
      SequenceRequest request;
      request.id = next_id;
      request.prompt = {2, 3, 4};
      request.stop.max_tokens = 64 + static_cast<uint32_t>(next_id % 64);
      request.fairness_key = std::to_string(next_id % shape.num_keys);
      request.deadline = now + 1'000'000'000;
      ++next_id;
      benchmark::DoNotOptimize(schedule.Add(std::move(request), now));
    }
    const auto begin = std::chrono::steady_clock::now();
    const Batch batch = *schedule.NextBatch(now);
    const auto formed = std::chrono::steady_clock::now();
    StepResult result{.step_id = batch.step_id};
    for (const BatchRow& row : batch.rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
    }
    now += 10'000;
    const auto done = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(schedule.Complete(result, now));
    const auto end = std::chrono::steady_clock::now();
    state.SetIterationTime(std::chrono::duration<double>(end - done + formed - begin).count());
  }
}
void StepBesideNobody(benchmark::State& state) { StepBesideAQueue(state, {}); }
void StepBesideSixtyFourKeys(benchmark::State& state) {
  StepBesideAQueue(state, {.num_waiting = 4096});
}
// More keys than places.
void StepBesideManyKeys(benchmark::State& state) {
  StepBesideAQueue(state, {.num_waiting = 4096, .num_keys = 1024});
}
void StepBesideManyKeysWithPrior(benchmark::State& state) {
  StepBesideAQueue(state, {.num_waiting = 4096, .num_keys = 1024, .has_prior = true});
}
// The blocks are for three quarters of the places.
void StepBesideManyKeysShortOfBlocks(benchmark::State& state) {
  StepBesideAQueue(state, {.num_waiting = 4096, .num_keys = 1024, .num_blocks = 256});
}
// Likewise, with fewer keys than blocks: each has a share of them.
void StepBesideSixtyFourKeysShortOfBlocks(benchmark::State& state) {
  StepBesideAQueue(state, {.num_waiting = 4096, .num_blocks = 256});
}
BENCHMARK(StepBesideNobody)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(StepBesideSixtyFourKeys)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(StepBesideManyKeys)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(StepBesideManyKeysWithPrior)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(StepBesideManyKeysShortOfBlocks)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(StepBesideSixtyFourKeysShortOfBlocks)->UseManualTime()->Unit(benchmark::kMicrosecond);

// Places for all, but no blocks: 256 readers that do not read hold them, 100 blocks each, which a
// newcomer could share; and none of 64 keys, each with one that wants more than all blocks that
// could be free, can begin.
void StepBesideSuspendedSequences(benchmark::State& state) {
  constexpr uint32_t kReaders = 256;
  constexpr uint32_t kShared = 100;
  constexpr uint32_t kKeys = 64;
  constexpr uint32_t kBlockTokens = 64;
  ScheduleOptions options;
  options.max_model_len = 1 << 20;
  options.vocab_size = 1024;
  options.max_step_tokens = 1 << 20;
  options.max_running = kReaders + kKeys;
  Schedule schedule(options);
  // Half of the blocks are in use all the time: nothing that wants more than the rest fits.
  constexpr uint32_t kBlocks = 8192;
  schedule.OpenEpoch(kBlocks);
  SequenceId next_id = 1;
  const auto add = [&](uint32_t num_blocks, TokenId token, uint32_t max_tokens, uint32_t key) {
    SequenceRequest request;
    request.id = next_id++;
    request.prompt.assign(num_blocks * kBlockTokens, token);
    request.stop.max_tokens = max_tokens;
    request.fairness_key = std::to_string(key);
    benchmark::DoNotOptimize(schedule.Add(std::move(request)));
  };
  const auto step = [&schedule] {
    const Batch batch = *schedule.NextBatch();
    StepResult result{.step_id = batch.step_id};
    for (const BatchRow& row : batch.rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
    }
    benchmark::DoNotOptimize(schedule.Complete(result));
  };
  add(kBlocks / 2, 2, 1 << 18, kKeys);
  for (uint32_t i = 0; i < kReaders; ++i) add(kShared, 3, 1 << 18, kKeys);
  for (int i = 0; i < 4; ++i) step();
  for (SequenceId id = 2; id <= 1 + kReaders; ++id) schedule.Suspend(id);
  for (uint32_t key = 0; key < kKeys; ++key) add(kBlocks / 2, 4 + key, 4, key);
  for (auto _ : state) step();
}
BENCHMARK(StepBesideSuspendedSequences)->Unit(benchmark::kMicrosecond)->Iterations(100);

// What a newcomer costs that is refused for its wait, with `range` waiting of as many keys.
void CoreRefusal(benchmark::State& state) {
  const auto num_waiting = static_cast<uint32_t>(state.range(0));
  ScheduleOptions options;
  options.max_model_len = kMaxLen;
  options.vocab_size = 1024;
  options.max_waiting = num_waiting;
  Schedule schedule(options);
  SequenceId next_id = 1;
  const auto make = [&next_id](uint32_t tokens) {
    SequenceRequest request;
    request.id = next_id;
    request.prompt = std::vector<TokenId>(tokens, 3);
    request.fairness_key = std::to_string(next_id++);
    return request;
  };
  for (uint32_t i = 0; i < num_waiting; ++i) schedule.Add(make(4)).status().IgnoreError();
  for (auto _ : state) benchmark::DoNotOptimize(schedule.Add(make(64)));
}
BENCHMARK(CoreRefusal)->Arg(64)->Arg(4096)->Unit(benchmark::kMicrosecond);

// Forming one step, alone, with everything that may stand around it: 256 sequences that run in two
// micro-batches and 4,096 that wait. Counters: allocations of a whole round (form and complete),
// and bytes that the heap has grown by per 1,000 rounds once all tables have their size.
void FormStep(benchmark::State& state) {
  constexpr uint32_t kRunning = 256;
  constexpr uint32_t kWaiting = 4096;
  ScheduleOptions options;
  options.max_model_len = 1 << 20;
  options.vocab_size = 1024;
  options.max_running = kRunning;
  options.max_waiting = kRunning + kWaiting;
  options.max_steps_in_flight = 2;
  options.step_cost = PriorOfTwoStages();
  Schedule schedule(options);
  schedule.OpenEpoch(1 << 20);
  for (SequenceId id = 1; id <= kRunning + kWaiting; ++id) {
    SequenceRequest request;
    request.id = id;
    request.prompt.assign(16, 2);
    request.stop.max_tokens = 1 << 20;
    benchmark::DoNotOptimize(schedule.Add(std::move(request)));
  }
  std::deque<Batch> steps;
  const auto complete = [&schedule, &steps] {
    StepResult result{.step_id = steps.front().step_id};
    for (const BatchRow& row : steps.front().rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
    }
    result.stage_seconds = {0.01, 0.01};
    steps.pop_front();
    benchmark::DoNotOptimize(schedule.Complete(result));
  };
  for (int i = 0; i < 1000; ++i) {
    if (steps.size() == 2) complete();
    steps.push_back(*schedule.NextBatch());
  }
  const uint64_t allocations = g_num_allocations;
  const int64_t live_bytes = g_live_bytes;
  for (auto _ : state) {
    state.PauseTiming();
    complete();
    state.ResumeTiming();
    steps.push_back(*schedule.NextBatch());
  }
  const double rounds = static_cast<double>(state.iterations());
  state.counters["allocations"] = static_cast<double>(g_num_allocations - allocations) / rounds;
  // Each round 128 tokens of 4 bytes are journalled, and a block of 64 tokens is written down.
  state.counters["grown_bytes_per_1000"] =
      1000 * static_cast<double>(g_live_bytes - live_bytes) / rounds;
}
BENCHMARK(FormStep)->Unit(benchmark::kMicrosecond);

// A scheduler with stages that answer at once, in this process, over loopback.
class Group {
 public:
  explicit Group(int num_stages) {
    SchedulerConfig config;
    config.model = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
    config.pipeline_parallel_size = num_stages;
    config.max_model_len = 2048;
    config.listen_address = "127.0.0.1:0";
    config.metrics_address = "";
    server_ = SchedulerServer::Create(config).value();
    runner_ = std::thread([this] { server_->RunUntilShutdown().IgnoreError(); });
    FakeStageOptions options;
    options.scheduler_address = "127.0.0.1:" + std::to_string(server_->grpc_port());
    options.num_blocks = 2048;
    for (int i = 0; i < num_stages; ++i) stages_.push_back(FakeStageWorker::Start(options));
    stub_ = v1::Scheduling::NewStub(
        grpc::CreateChannel(options.scheduler_address, grpc::InsecureChannelCredentials()));
    Generate(1);
  }
  ~Group() {
    stages_.clear();
    server_->RequestShutdown("the benchmark ends");
    runner_.join();
  }

  void Generate(uint32_t num_tokens) {
    v1::SubmitRequest request;
    *request.mutable_peer() = MakePeerInfo("bench");
    for (uint32_t i = 0; i < 16; ++i) request.add_prompt_token_ids(2 + i);
    request.mutable_sampling()->set_top_p(1);
    request.mutable_sampling()->set_repetition_penalty(1);
    request.mutable_stop()->set_max_tokens(num_tokens);
    grpc::ClientContext context;
    auto reader = stub_->Submit(&context, request);
    v1::SubmitResponse response;
    while (reader->Read(&response)) {
    }
    reader->Finish();
  }

 private:
  std::unique_ptr<SchedulerServer> server_;
  std::thread runner_;
  std::vector<std::unique_ptr<FakeStageWorker>> stages_;
  std::unique_ptr<v1::Scheduling::Stub> stub_;
};

// Time per token of one stream; arg: stages.
void OneStream(benchmark::State& state) {
  constexpr uint32_t kTokens = 200;
  Group group(static_cast<int>(state.range(0)));
  for (auto _ : state) group.Generate(kTokens);
  state.SetItemsProcessed(state.iterations() * kTokens);
}
BENCHMARK(OneStream)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);

// From Submit to the end of a single token's stream.
void FirstToken(benchmark::State& state) {
  Group group(1);
  for (auto _ : state) group.Generate(1);
}
BENCHMARK(FirstToken)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace baton::scheduler

// Not inlined: the compiler would pair the malloc in it with a delete.
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  baton::scheduler::g_num_allocations.fetch_add(1, std::memory_order_relaxed);
  baton::scheduler::g_live_bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(memory)),
                                           std::memory_order_relaxed);
  return memory;
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  baton::scheduler::g_live_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)),
                                           std::memory_order_relaxed);
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

int main(int argc, char** argv) {
  baton::SetMinLogLevel(baton::LogLevel::kError);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
