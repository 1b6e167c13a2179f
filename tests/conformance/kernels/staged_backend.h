// A backend whose operations take tensors in host memory and run on a device of another: every
// argument is copied to the device's own memory before a call, what it may write is copied back
// after. So tests that fill host tensors run on devices that cannot read them.
#pragma once

#include <memory>

#include "kernels/api/ops.h"

namespace baton::kernels {

// Weights are the device's; Allocate and the copies are too. Views of one call that begin at one
// address share their copy, so that operations in place stay in place.
std::unique_ptr<Backend> StageBackend(std::unique_ptr<Backend> inner);

}  // namespace baton::kernels
