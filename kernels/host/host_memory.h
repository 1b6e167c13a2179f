// What the host's system says of its memory.
#pragma once

#include "kernels/api/ops.h"

namespace baton::kernels {

// Total, and what programs could take now (caches given back); zeros if the system does not say.
DeviceMemory ReadHostMemory();

}  // namespace baton::kernels
