// Which build of the program runs.
#pragma once

#include <string>

namespace baton {

// Hex of the id that the linker gave the running program (NT_GNU_BUILD_ID), a digest of all that it
// linked: another code has another. Empty if it was linked without. Any thread.
std::string BuildId();

}  // namespace baton
