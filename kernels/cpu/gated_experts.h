// Gated feed-forward layers and mixtures of them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor/tensor_view.h"
#include "kernels/api/experts.h"
#include "kernels/cpu/device_context.h"
#include "kernels/cpu/product.h"

namespace baton::kernels::cpu {

// Threads: those of the device.
class GatedExperts {
 public:
  explicit GatedExperts(DeviceContext& device) : device_(device) {}

  void FeedForward(const FeedForwardArgs& args);
  void Experts(const ExpertsArgs& args);

 private:
  // One network applied to some rows of x.
  struct Job {
    FeedForwardWeights weights;
    const int32_t* row_index = nullptr;  // null: all rows of x in order
    int64_t rows = 0;
    PreparedRows x;
    TensorView inner;  // [rows, intermediate] as silu_multiply leaves it
    PreparedRows down_x;
    TensorView out;  // float32 [rows, columns of the panels that RunDown is called for]
  };
  // Part of a job for one thread: panels [begin, end).
  struct Task {
    const Job* job = nullptr;
    int64_t begin = 0;
    int64_t end = 0;
  };

  void AddJob(const FeedForwardWeights& weights, const int32_t* row_index, int64_t rows);
  void PrepareInputs(const TensorView& x);
  // All jobs' inner layers, which RunDown reads.
  void RunInner(const TensorView& x);
  // All jobs' outputs, of the panels [begin, end) of their downs.
  void RunDown(int64_t begin, int64_t end);
  // Cuts panels [begin, end) of all jobs' gates or downs into tasks; returns the multiplications of
  // all.
  int64_t CutTasks(const PackedWeight* FeedForwardWeights::*weight, int64_t begin, int64_t end);
  void GroupByExpert(const ExpertsArgs& args);
  // Instead, where only room is made: every slot is full, and the experts have equal shares.
  void ShareAmongExperts(const ExpertsArgs& args);
  // Elements of the largest task on panels of gates, however the jobs' rows are divided among them,
  // `rows` to one at the most: a token chooses an expert once.
  int64_t MostTaskElements(int64_t rows) const;
  // out[:, column ...] = the slots' outputs, weighted, in slot order, then the shared expert's.
  void Combine(const ExpertsArgs& args, int64_t column, const TensorView& routed,
               const TensorView& shared);

  DeviceContext& device_;
  std::vector<Job> jobs_;
  std::vector<Task> tasks_;
  // Of GroupByExpert: rows of expert e are grouped_rows_[begins_[e], begins_[e + 1]); slot s of the
  // input stands at places_[s], -1 if empty.
  std::vector<int32_t> begins_;
  std::vector<int32_t> grouped_rows_;
  std::vector<int32_t> places_;
};

}  // namespace baton::kernels::cpu
