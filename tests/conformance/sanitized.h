// What this build is good for: tests that are slow take a share of their cells under sanitizers.
#pragma once

namespace baton {

// Whether this is a build with a sanitizer, which makes everything several times slower.
bool IsSanitized();

}  // namespace baton
