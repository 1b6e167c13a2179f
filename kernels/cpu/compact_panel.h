// Panels of bfloat16 in twelve bits per element, without loss: the writing side of the compact
// layouts, which variants/variant_kernels.h draws.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/tensor/bfloat16.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {

// Whether elements of the layout are compact, and the layout that they stand for; others stand for
// themselves.
bool IsCompact(PanelLayout layout);
PanelLayout PlainLayout(PanelLayout layout);
// The compact form of a layout of bfloat16; of others the layout itself.
PanelLayout CompactLayout(PanelLayout layout);

// `padded_k` is a multiple of kCompactSteps, and at most kProductPackedRows.
int64_t CompactStrayOffset(int64_t padded_k);
// Of a whole panel; a multiple of 64.
int64_t CompactPanelBytes(int64_t padded_k);

// Writes the padded_k x kPanelColumns elements at `plain`, in the plain layout's order, as a
// compact panel for a variant of `vector` = VariantKernels::compact_vector. Its codes stand for the
// most frequent upper bytes. False if the panel has no room for all its strays: it then holds
// nothing but that. Any thread.
bool WriteCompactPanel(const BFloat16* plain, int64_t padded_k, int64_t vector, std::byte* panel);

enum class CompactPanelState {
  kCompact,    // products may read it: its strays are of the panel, ascend, and end
  kElsewhere,  // WriteCompactPanel had no room
  kDamaged,
};
// Of a panel whose bytes may be anybody's. Whether they are the right ones is not looked at. Any
// thread.
CompactPanelState StateOf(const std::byte* panel, int64_t padded_k);

}  // namespace baton::kernels::cpu
