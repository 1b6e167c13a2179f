// How much memory this process could still take.
#pragma once

#include <cstdint>

namespace baton::stage {

// Bytes that the kernel says are available without swapping; 0 if it does not say.
uint64_t FreeMemoryBytes();

}  // namespace baton::stage
