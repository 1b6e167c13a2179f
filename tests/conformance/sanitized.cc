#include "tests/conformance/sanitized.h"

namespace baton {

bool IsSanitized() { return BATON_SANITIZED; }

}  // namespace baton
