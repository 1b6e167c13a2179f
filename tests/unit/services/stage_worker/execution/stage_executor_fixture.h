// Groups of stages of a toy model.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "services/stage_worker/execution/stage_executor.h"
#include "services/stage_worker/model/activation_tap.h"
#include "services/stage_worker/model/workspace.h"
#include "tests/fakes/separate_device.h"
#include "tests/fakes/stage_group.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {

class StageExecutorTest : public testing::Test {
 protected:
  StageExecutorTest()
      : config_(fakes::ToyConfig()),
        checkpoint_(fakes::RandomCheckpoint(config_, 2)),
        backend_(kernels::CreateReferenceBackend()) {}

  std::unique_ptr<fakes::StageGroup> Group(int num_stages, int num_ranks, int num_devices) {
    fakes::StageGroupOptions options;
    options.config = config_;
    options.checkpoint = &checkpoint_;
    options.backend = chosen_;
    options.num_stages = num_stages;
    options.num_ranks = num_ranks;
    options.num_devices = num_devices;
    options.max_model_len = 256;
    options.max_step_tokens = 64;
    options.max_step_sequences = 8;
    options.num_blocks = 16;
    options.tap = tap_;
    options.constraints = constraints_;
    auto group = fakes::StageGroup::Create(options);
    EXPECT_TRUE(group.ok()) << group.status();
    return *std::move(group);
  }
  // For the groups to come.
  void UseSeparateDevices(const fakes::SeparateDeviceOptions& options) {
    separate_ = fakes::SeparateDevices(backend_.get(), options);
    chosen_ = separate_.get();
  }
  // Of Group's stage `index` of two, on a device of one rank of `num_ranks`.
  WorkspaceShape StageShapeOf(int index, int num_ranks) const {
    WorkspaceShape shape;
    shape.config = config_;
    shape.stage = {.has_embedding = index == 0, .has_head = index == 1};
    shape.num_ranks = num_ranks;
    shape.compute_type = DataType::kFloat32;
    shape.max_step_tokens = 64;
    shape.max_step_sequences = 8;
    shape.max_model_len = 256;
    return shape;
  }
  static StepWork OneToken(uint64_t sequence_id) {
    StepWork work;
    work.new_sequences.push_back({sequence_id, {5}, 1, {}});
    work.chunks.push_back({sequence_id, 0, 1, {}, {0}, true});
    return work;
  }

  const ModelConfig config_;
  fakes::MemoryCheckpoint checkpoint_;
  const std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<kernels::Backend> separate_;
  ActivationTap* tap_ = nullptr;
  ConstraintOptions constraints_;
  kernels::Backend* chosen_ = backend_.get();
};

}  // namespace baton::stage
