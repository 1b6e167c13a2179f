// The sixteen columns of a panel, which a weight has as rows, into the element order of the panel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {

// Bytes of each row that are turned at a time.
inline constexpr int64_t kTurnedBytes = 16;

// Writes the first `bytes` bytes of each of the sixteen rows to `to`, in the layout's order; rows
// hold elements of the layout's type, and `to` has room for all of them. Returns how many bytes of
// each row it turned: a multiple of kTurnedBytes, and whole steps of the layout; 0 where it knows
// no faster way than element by element (columns in their own order, processors without SSE2).
// `rows` and `to` may stand anywhere. Any thread.
int64_t TurnRows(PanelLayout layout, bool interleaved, const std::byte* const* rows, int64_t bytes,
                 std::byte* to);

}  // namespace baton::kernels::cpu
