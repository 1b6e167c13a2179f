// Rows of cuda_bench for launches that an operation makes several of, each by itself.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api/ops.h"

namespace baton::kernels {

// `ops` is a CUDA device's. Quantisation of activations; a layer of 256 experts and the shared one:
// all of it, its schedule, gate and up, down, combination. Says why if the device cannot run them.
void MeasureExpertLaunches(Ops& ops, const std::vector<int64_t>& steps);

// Draws of a vocabulary's tokens: the largest, and of a nucleus.
void MeasureDrawLaunches(Ops& ops, const std::vector<int64_t>& steps);

}  // namespace baton::kernels
