// What all operations of one device share.
#pragma once

#include <cstdint>

#include "common/tensor/aligned_buffer.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/variants/variant_kernels.h"
#include "kernels/cpu/weight_arena.h"
#include "kernels/cpu/worker_pool.h"

namespace baton::kernels::cpu {

struct DeviceContext {
  DeviceContext(const VariantKernels& table, int num_threads)
      : kernels(table),
        pool(num_threads),
        product_scratch(num_threads * kProductScratchFloats * sizeof(float)) {}

  uint64_t working_bytes() const { return scratch.bytes() + product_scratch.size(); }

  // Working memory of one thread's products.
  float* ProductScratch(int thread) {
    return reinterpret_cast<float*>(product_scratch.data()) + thread * kProductScratchFloats;
  }

  // Calls task(index, thread) for all indices: over the pool if `work` (multiplications, or what
  // takes as long) is worth waking it.
  template <typename Task>
  void ForEach(int64_t num_tasks, int64_t work, const Task& task) {
    if (only_makes_room) return;
    if (work < kSmallestPoolWork) {
      for (int64_t index = 0; index < num_tasks; ++index) task(index, 0);
    } else {
      pool.Run(num_tasks, task);
    }
  }

  // Multiplications that take about 10 us: a few times what waking a spinning thread costs.
  static constexpr int64_t kSmallestPoolWork = 200'000;

  const VariantKernels& kernels;  // must outlive the device
  WorkerPool pool;
  Scratch scratch;  // each operation starts with a Reset
  AlignedBuffer product_scratch;
  // Operations take the working memory that their shapes can need, and no task runs
  // (Ops::MakeRoom).
  bool only_makes_room = false;
  WeightArena weights;  // memory of what the device packs
};

}  // namespace baton::kernels::cpu
