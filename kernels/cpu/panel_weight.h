// Weights in panels of 16 columns, in the element order of a variant.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/tensor/data_type.h"
#include "kernels/api/linear.h"
#include "kernels/api/weight_image.h"
#include "kernels/cpu/variants/variant_kernels.h"
#include "kernels/cpu/weight_arena.h"
#include "kernels/cpu/worker_pool.h"

namespace baton::kernels::cpu {

// Weights without scales are summed in blocks of this size too, which keeps rounding errors small.
inline constexpr int64_t kUnscaledBlock = 128;
static_assert(kUnscaledBlock <= kCompactSegment);

// How k is cut: at the edges of scale blocks, and each piece padded to the layout's step.
struct Segments {
  std::vector<int32_t> lengths;
  std::vector<int32_t> padded;
  int64_t padded_k = 0;
  bool natural = true;  // no padding anywhere

  friend bool operator==(const Segments&, const Segments&) = default;
};

// Rows of x as the products take them: bfloat16 in these segments; null: float32 or bfloat16 as
// they are.
struct RowForm {
  const Segments* segments = nullptr;
};

class PanelWeight final : public PackedWeight {
 public:
  // FP8 stays FP8, but for weights with NaN codes under the columns layout, which are held as
  // bfloat16. Large weights of bfloat16 are held in a compact layout
  // (VariantKernels::compact_from), but for panels that have no room for their strays: these stay
  // as they are.
  PanelWeight(const WeightMatrix& weight, DataType compute_type, const VariantKernels& kernels,
              WorkerPool& pool, WeightArena& arena);
  // The weight that `band` is of, with none of its rows yet.
  PanelWeight(const WeightBand& band, DataType compute_type, const VariantKernels& kernels,
              WeightArena& arena);

  // Over the bytes of an image that a weight packed for the same kernels gave; they are not
  // written. InvalidArgument: see Ops::Adopt.
  static absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(const WeightImage& image,
                                                             const VariantKernels& kernels,
                                                             std::shared_ptr<const void> owner);
  // Elements, scales, then the panels of a compact layout that are not compact.
  WeightImage image() const;

  // Not of one that was adopted.
  void PackBand(const WeightBand& band, WorkerPool& pool, WeightArena& arena);

  // Grows and shrinks with bands, by panels that are not compact.
  size_t bytes() const override;

  PanelLayout layout() const { return layout_; }
  const Segments& segments() const { return segments_; }
  RowForm row_form() const;
  int64_t num_panels() const { return num_panels_; }

  // The end of the longest run from `begin` on, up to `end`, that one product can take: panels of
  // one layout. begin < end.
  int64_t RunEnd(int64_t begin, int64_t end) const;
  // Fills what concerns the weight for panels [begin, end), a run; out_columns counts from `begin`.
  void Describe(int64_t begin, int64_t end, PanelProduct* product) const;

 private:
  PanelWeight(const WeightImage& image, PanelLayout layout, const VariantKernels& kernels);

  // Cuts k, and says what a panel takes.
  void LayOut(int64_t block_size, int64_t column_offset, const VariantKernels& kernels);
  void TakeMemory(WeightArena& arena);
  void CutSegments(int64_t block_size, int64_t column_offset, int64_t step);
  // `values` begins with the weight's row `first_row`.
  void PackPanel(const TensorView& values, int64_t first_row, int64_t panel, WeightArena& arena);
  // In the plain layout, to plain_bytes_ at `to` that are zero.
  void PlacePanel(const TensorView& values, int64_t first_row, int64_t panel, std::byte* to) const;
  void PackScales(const WeightMatrix& weight, float unit);
  // Of a compact layout, whose panels_ are an image's.
  absl::Status AdoptPlainPanels(const WeightImage& image);

  PanelLayout layout_ = PanelLayout::kColumnsFloat32;
  bool interleaved_ = false;
  int64_t compact_vector_ = 0;
  int64_t block_size_ = 0;  // of k, from which segments follow
  int64_t column_offset_ = 0;
  Segments segments_;
  int64_t num_panels_ = 0;
  int64_t panel_bytes_ = 0;
  int64_t plain_bytes_ = 0;  // of a panel in the plain layout
  // What is packed here; null, or empty, where bytes were adopted.
  WeightMemory own_panels_;
  std::vector<WeightMemory> own_plain_panels_;
  std::vector<float> own_scales_;
  std::shared_ptr<const void> owner_;  // of adopted bytes
  const std::byte* panels_ = nullptr;
  std::vector<const std::byte*> plain_panels_;  // compact layouts: by panel, null: it is compact
  std::span<const float> scales_;               // [panels][segments] or [panels][segments][16]
  bool lane_scales_ = false;
};

// Names what PanelWeight makes of weights for these kernels; see Ops::packing.
std::string PackingOf(const VariantKernels& kernels);

}  // namespace baton::kernels::cpu
