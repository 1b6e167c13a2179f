// Whether no JSON value can match two schemas, as far as that can be seen.
#pragma once

#include "common/structured_output/schema_merge.h"

namespace baton::structured {

// True if the schemas, which are flat, differ in type, in the values that they list, or in a
// property that both require (tagged unions). `closed`: objects with `properties` have no others.
bool AreDisjoint(const Json& a, const Json& b, bool closed, const SchemaMerger& merger, int depth);

}  // namespace baton::structured
