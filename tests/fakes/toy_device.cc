#include "tests/fakes/toy_device.h"

#include <cmath>
#include <utility>

#include "common/log/check.h"
#include "kernels/reference/reference_backend.h"

namespace baton::fakes {

ToyDevice::ToyDevice(int num_ranks)
    : config_(ToyConfig()), checkpoint_(RandomCheckpoint(config_, 3)) {
  const StageShape stage{0, config_.num_layers, true, true};
  team_ = *kernels::CreateReferenceBackend()->CreateTeam(num_ranks, 1);
  kernels::Ops* ops = team_.devices[0].ops.get();
  store_ = *stage::WeightStore::Create(
      {config_, stage, num_ranks, 0, num_ranks, DataType::kFloat32, true}, ops);
  BATON_CHECK_OK(checkpoint_.Fill(*store_));
  workspace_ = *stage::CreateWorkspace(
      {config_, stage, num_ranks, num_ranks, DataType::kFloat32, 160, 160, 256}, ops);
  cache_ = *stage::KvCache::Create(
      stage::KvShapeOf(config_, config_.num_layers, DataType::kFloat32), 3, ops);
  context_ = {&config_, ops,    team_.devices[0].collectives.get(), workspace_.get(), num_ranks,
              0,        nullptr};
}

stage::StepRows ToyDevice::Rows(int32_t begin, std::vector<uint32_t> tokens) {
  tokens_ = std::move(tokens);
  positions_.clear();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    positions_.push_back(begin + static_cast<int32_t>(i));
  }
  sequence_rows_.assign(tokens_.size(), 0);
  return {static_cast<int64_t>(tokens_.size()),
          tokens_,
          {positions_, sequence_rows_, block_table_, static_cast<int64_t>(block_table_.size())}};
}

void ToyDevice::FillNormed(int64_t first_row, int64_t num_rows) {
  for (int64_t row = 0; row < num_rows; ++row) {
    float* values = workspace_->normed.Row<float>(row);
    for (int64_t i = 0; i < workspace_->normed.columns; ++i) {
      values[i] = std::sin(static_cast<float>(37 * (first_row + row) + 11 * i + 1));
    }
  }
}

std::vector<float> ToyDevice::RowOf(const TensorView& tensor, int64_t row) {
  const float* values = tensor.Row<float>(row);
  return {values, values + tensor.columns};
}

}  // namespace baton::fakes
