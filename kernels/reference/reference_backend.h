// The plain implementation of every operation: slow, readable, the oracle of the others.
#pragma once

#include <memory>

#include "kernels/api/ops.h"

namespace baton::kernels {

// Devices are threads of this process, one caller each; nothing else runs in parallel.
std::unique_ptr<Backend> CreateReferenceBackend();

}  // namespace baton::kernels
