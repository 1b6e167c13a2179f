// What this machine can do at best: the roofline that kernels are held against.
#pragma once

namespace baton::bench {

struct MachineRates {
  double read_gb_per_s = 0;    // sum of all threads, memory far larger than the caches
  double fma_gflop_per_s = 0;  // float32 multiply-adds on registers, widest vectors, all threads
  double dot_gflop_per_s = 0;  // vdpbf16ps likewise; 0 without it

  double peak_gflop_per_s() const {
    return fma_gflop_per_s > dot_gflop_per_s ? fma_gflop_per_s : dot_gflop_per_s;
  }
};

// Takes about a second and 1 GiB.
MachineRates MeasureMachine(int num_threads);

}  // namespace baton::bench
