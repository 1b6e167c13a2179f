#include "services/stage_worker/stage_config.h"

#include <cstdlib>
#include <limits>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "tests/fakes/separate_device.h"

ABSL_DECLARE_FLAG(std::string, scheduler);
ABSL_DECLARE_FLAG(std::string, backend);
ABSL_DECLARE_FLAG(std::string, device);
ABSL_DECLARE_FLAG(std::string, constraint_memory_bytes);
ABSL_DECLARE_FLAG(std::string, kv_cache_memory_bytes);
ABSL_DECLARE_FLAG(std::string, packed_weights_bytes);
ABSL_DECLARE_FLAG(std::string, packed_weights_dir);
ABSL_DECLARE_FLAG(bool, enforce_eager);
ABSL_DECLARE_FLAG(std::string, gemm_backend);
ABSL_DECLARE_FLAG(double, gpu_memory_utilization);
ABSL_DECLARE_FLAG(int, tensor_parallel_size);
ABSL_DECLARE_FLAG(int, num_devices);
ABSL_DECLARE_FLAG(int, stage_index);
ABSL_DECLARE_FLAG(int, cpu_threads);
ABSL_DECLARE_FLAG(bool, leader_is_stage);
ABSL_DECLARE_FLAG(std::string, least_link_rate);
ABSL_DECLARE_FLAG(std::string, prompt_attention);

namespace baton::stage {
namespace {

// Flags are the program's: each test finds them as they were.
class ReadStageConfigFlags : public testing::Test {
 protected:
  ReadStageConfigFlags() { absl::SetFlag(&FLAGS_scheduler, "leader:50052"); }

  void ExpectRefusal(const char* flag) {
    const auto config = ReadStageConfig();
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(config.status().message(), flag)) << config.status();
  }

 private:
  absl::FlagSaver saver_;
};

TEST(DefaultDevices, GivesEachRankACoreOrAllOne) {
  EXPECT_EQ(DefaultDevices(8, 2), 1);
  EXPECT_EQ(DefaultDevices(8, 8), 8);
  EXPECT_EQ(DefaultDevices(1, 64), 1);
}

TEST(ExpandsPrompts, WhereTheKernelsCanUnlessAbsorbedIsAskedFor) {
  const auto expanding = kernels::CreateReferenceBackend();
  EXPECT_EQ(ExpandsPrompts("auto", *expanding).value(), true);
  EXPECT_EQ(ExpandsPrompts("expanded", *expanding).value(), true);
  EXPECT_EQ(ExpandsPrompts("absorbed", *expanding).value(), false);
  const auto absorbing = fakes::SeparateDevices(expanding.get(), {});  // as GPUs are
  EXPECT_EQ(ExpandsPrompts("auto", *absorbing).value(), false);
  EXPECT_EQ(ExpandsPrompts("absorbed", *absorbing).value(), false);
  const auto refusal = ExpandsPrompts("expanded", *absorbing);
  EXPECT_EQ(refusal.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(refusal.status().message(), "--prompt-attention"));
}

TEST_F(ReadStageConfigFlags, RefusesFormsOfAttentionThatAreNone) {
  absl::SetFlag(&FLAGS_prompt_attention, "absorbed");
  EXPECT_TRUE(ReadStageConfig().ok());
  absl::SetFlag(&FLAGS_prompt_attention, "naive");
  ExpectRefusal("--prompt-attention is \"naive\"; there is: auto, expanded, absorbed");
}

TEST_F(ReadStageConfigFlags, FillsInWhatIsGiven) {
  absl::SetFlag(&FLAGS_tensor_parallel_size, 4);
  absl::SetFlag(&FLAGS_num_devices, 2);
  absl::SetFlag(&FLAGS_cpu_threads, 6);
  absl::SetFlag(&FLAGS_kv_cache_memory_bytes, "2GiB");
  absl::SetFlag(&FLAGS_packed_weights_dir, "/cache/weights");
  absl::SetFlag(&FLAGS_packed_weights_bytes, "9GiB");
  absl::SetFlag(&FLAGS_gpu_memory_utilization, 0.8);
  absl::SetFlag(&FLAGS_least_link_rate, "16MiB");
  absl::SetFlag(&FLAGS_constraint_memory_bytes, "1GiB");
  const auto config = ReadStageConfig();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->stage.scheduler_address, "leader:50052");
  EXPECT_EQ(config->stage.num_ranks, 4);
  EXPECT_EQ(config->stage.num_devices, 2);
  EXPECT_EQ(config->num_threads_per_device, 3);
  EXPECT_EQ(config->stage.num_threads, 6);
  EXPECT_EQ(config->stage.least_link_rate, 16 << 20);
  EXPECT_EQ(config->stage.kv_cache_bytes, uint64_t{2} << 30);
  EXPECT_EQ(config->stage.packed_weights_folder, "/cache/weights");
  EXPECT_EQ(config->stage.packed_weights_bytes, uint64_t{9} << 30);
  EXPECT_EQ(config->stage.memory_utilization, 0.8);
  EXPECT_EQ(config->stage.constraint_bytes, uint64_t{1} << 30);
  EXPECT_FALSE(config->enforce_eager);
  EXPECT_FALSE(config->stage.stage_index.has_value());
}

TEST_F(ReadStageConfigFlags, TurnsGraphsOff) {
  absl::SetFlag(&FLAGS_enforce_eager, true);
  const auto config = ReadStageConfig();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->enforce_eager);
}

TEST_F(ReadStageConfigFlags, SendsProductsThroughCublasWhereThatIsAskedFor) {
  EXPECT_FALSE(ReadStageConfig()->through_cublas);
  absl::SetFlag(&FLAGS_gemm_backend, "cublas");
  ExpectRefusal("--gemm-backend=cublas needs --device=cuda; kernels are those of cpu");
  absl::SetFlag(&FLAGS_device, "cuda");
  const auto config = ReadStageConfig();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->through_cublas);
  absl::SetFlag(&FLAGS_gemm_backend, "cutlass");
  ExpectRefusal("--gemm-backend is \"cutlass\"");
}

TEST_F(ReadStageConfigFlags, NamesWhatIsWrong) {
  absl::SetFlag(&FLAGS_tensor_parallel_size, 0);
  ExpectRefusal("--tensor-parallel-size is 0");
  absl::SetFlag(&FLAGS_tensor_parallel_size, 2);
  absl::SetFlag(&FLAGS_num_devices, 3);
  ExpectRefusal("--num-devices is 3");
  absl::SetFlag(&FLAGS_num_devices, 0);
  absl::SetFlag(&FLAGS_kv_cache_memory_bytes, "much");
  ExpectRefusal("--kv-cache-memory-bytes");
  absl::SetFlag(&FLAGS_kv_cache_memory_bytes, "0");
  absl::SetFlag(&FLAGS_constraint_memory_bytes, "63MiB");
  ExpectRefusal("--constraint-memory-bytes is 63MiB; wanted 64MiB or more");
  absl::SetFlag(&FLAGS_constraint_memory_bytes, "512MiB");
  absl::SetFlag(&FLAGS_packed_weights_bytes, "9GiB");
  ExpectRefusal("--packed-weights-bytes bounds a folder; --packed-weights-dir does not say which");
  absl::SetFlag(&FLAGS_packed_weights_bytes, "0");
  absl::SetFlag(&FLAGS_stage_index, -2);
  ExpectRefusal("--stage-index");
  absl::SetFlag(&FLAGS_stage_index, -1);
  for (const double share : {0.0, -0.5, 1.01, std::numeric_limits<double>::quiet_NaN()}) {
    absl::SetFlag(&FLAGS_gpu_memory_utilization, share);
    ExpectRefusal("--gpu-memory-utilization is ");
  }
}

TEST_F(ReadStageConfigFlags, FindsTheSchedulerOfALeaderWorkerSet) {
  absl::SetFlag(&FLAGS_scheduler, "");
  unsetenv("LWS_LEADER_ADDRESS");
  ExpectRefusal("--scheduler is missing");
  setenv("LWS_LEADER_ADDRESS", "group-0.group", 1);
  EXPECT_EQ(ReadStageConfig()->stage.scheduler_address, "group-0.group:50052");
  unsetenv("LWS_LEADER_ADDRESS");
}

TEST_F(ReadStageConfigFlags, TakesTheStageFromThePodsPlaceInItsGroup) {
  setenv("LWS_GROUP_SIZE", "3", 1);
  setenv("LWS_WORKER_INDEX", "2", 1);
  EXPECT_EQ(ReadStageConfig()->stage.stage_index, 1u);
  absl::SetFlag(&FLAGS_leader_is_stage, true);
  EXPECT_EQ(ReadStageConfig()->stage.stage_index, 2u);
  absl::SetFlag(&FLAGS_stage_index, 0);
  EXPECT_EQ(ReadStageConfig()->stage.stage_index, 0u);
  setenv("LWS_WORKER_INDEX", "3", 1);
  ExpectRefusal("LWS_WORKER_INDEX is 3");
  unsetenv("LWS_GROUP_SIZE");
  unsetenv("LWS_WORKER_INDEX");
}

TEST_F(ReadStageConfigFlags, ComputeOnTheCpuUnlessToldOtherwise) {
  EXPECT_EQ(ReadStageConfig()->stage.backend, "cpu");
  absl::SetFlag(&FLAGS_device, "cpu");
  EXPECT_EQ(ReadStageConfig()->stage.backend, "cpu");
  absl::SetFlag(&FLAGS_backend, "reference");
  EXPECT_EQ(ReadStageConfig()->stage.backend, "reference");
}

TEST_F(ReadStageConfigFlags, GiveEachRankAGpuOfItsOwn) {
  absl::SetFlag(&FLAGS_device, "cuda");
  absl::SetFlag(&FLAGS_tensor_parallel_size, 8);
  const auto config = ReadStageConfig();
  EXPECT_EQ(config->stage.backend, "cuda");
  EXPECT_EQ(config->stage.num_devices, 8);
}

TEST_F(ReadStageConfigFlags, RefuseUnknownDevicesAndBackendsOfOthers) {
  absl::SetFlag(&FLAGS_device, "tpu");
  ExpectRefusal("--device");
  absl::SetFlag(&FLAGS_device, "cuda");
  absl::SetFlag(&FLAGS_backend, "reference");
  ExpectRefusal("--backend");
}

}  // namespace
}  // namespace baton::stage
