// The backend for NVIDIA GPUs.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"

namespace baton::kernels {

struct CudaOptions {
  // Every operation on the kernels that take any shape, FP8 weights widened exactly. Else Hopper's
  // own run where shapes allow: products with FP8 weights then quantise their activations, one
  // scale per row and 128 columns.
  bool plain_kernels = false;
  // Devices of a team hand each other their parts through NCCL even if they can read each other's
  // memory; the bits are the same.
  bool through_nccl = false;
  // Products of many rows go through cuBLASLt where it takes them, if the machine has it. It
  // promises no order of summation: a row's bits then depend on how many rows its step has, so that
  // answers may differ with the neighbours, chunks, cached beginnings and recoveries of a sequence.
  bool through_cublas = false;
  // Steps run in the graphs that are made of them (Ops::MakeGraph); the bits are the same.
  bool keeps_graphs = true;
};

// FailedPrecondition if this program was built without CUDA, or if the machine shows no device. Its
// teams use the devices 0, 1, ... that CUDA_VISIBLE_DEVICES leaves.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options = {});

}  // namespace baton::kernels
