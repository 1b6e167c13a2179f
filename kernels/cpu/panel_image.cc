// Packed weights as bytes, and taken up again.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "kernels/cpu/compact_panel.h"
#include "kernels/cpu/panel_weight.h"

namespace baton::kernels::cpu {
namespace {

constexpr int64_t kMostRows = int64_t{1} << 31;

absl::Status Refuse(const WeightImage& image, absl::string_view what, int64_t value) {
  return absl::InvalidArgumentError(
      absl::StrCat("packed weight of ", image.n, " x ", image.k, ": ", what, " is ", value));
}

// Of numbers alone: what follows may count on sizes that fit.
absl::Status CheckForm(const WeightImage& image, const VariantKernels& kernels) {
  const auto [layout, block_size, column_offset, lane_scales] = image.form;
  if (image.n < 0 || image.n > kMostRows) return Refuse(image, "n", image.n);
  if (image.k < 0 || image.k > kProductPackedRows) return Refuse(image, "k", image.k);
  if (layout < 0 || layout > static_cast<int64_t>(PanelLayout::kPairsCompact)) {
    return Refuse(image, "layout", layout);
  }
  const bool is_compact = IsCompact(static_cast<PanelLayout>(layout));
  const PanelLayout plain = PlainLayout(static_cast<PanelLayout>(layout));
  const bool is_pairs = plain == PanelLayout::kPairsFloat8 || plain == PanelLayout::kPairsBFloat16;
  if (is_pairs && !kernels.pairs) return Refuse(image, "layout", layout);
  if (block_size < 1 || block_size > kMostRows) return Refuse(image, "block size", block_size);
  if (column_offset < 0 || column_offset >= block_size) {
    return Refuse(image, "column offset", column_offset);
  }
  if (lane_scales != 0 && lane_scales != 1) return Refuse(image, "scales by lane", lane_scales);
  // Products count on segments of whole units, no longer than these.
  if (is_compact && (block_size != kUnscaledBlock || column_offset != 0)) {
    return Refuse(image, "block size of compact panels", block_size);
  }
  if (is_compact && (image.k == 0 || image.k % kCompactSteps != 0)) {
    return Refuse(image, "k of compact panels", image.k);
  }
  return absl::OkStatus();
}

// Elements and scales. Panels of a compact layout that are not compact are further ones.
constexpr size_t kFewestPieces = 2;

}  // namespace

std::string PackingOf(const VariantKernels& kernels) {
  // float8_unit is in the scales.
  return absl::StrCat("cpu/columns", kPanelColumns, "/pairs", kernels.pairs, "x", kernels.pair_step,
                      "/interleaved", kernels.interleaved, "/float8x", kernels.float8_step, "/unit",
                      kernels.float8_unit, "/compact", kernels.compact_from, "x",
                      kernels.compact_vector);
}

WeightImage PanelWeight::image() const {
  WeightImage image;
  image.n = n();
  image.k = k();
  image.form = {static_cast<int64_t>(layout_), block_size_, column_offset_, lane_scales_ ? 1 : 0};
  image.pieces = {
      std::span<const std::byte>(panels_, static_cast<size_t>(panel_bytes_ * num_panels_)),
      std::as_bytes(scales_)};
  for (const std::byte* plain : plain_panels_) {
    if (plain != nullptr) image.pieces.emplace_back(plain, static_cast<size_t>(plain_bytes_));
  }
  return image;
}

PanelWeight::PanelWeight(const WeightImage& image, PanelLayout layout,
                         const VariantKernels& kernels)
    : PackedWeight(image.n, image.k),
      layout_(layout),
      interleaved_(kernels.interleaved),
      num_panels_((image.n + kPanelColumns - 1) / kPanelColumns),
      lane_scales_(image.form[3] == 1) {
  LayOut(image.form[1], image.form[2], kernels);
}

absl::StatusOr<std::unique_ptr<PackedWeight>> PanelWeight::Adopt(
    const WeightImage& image, const VariantKernels& kernels, std::shared_ptr<const void> owner) {
  if (absl::Status status = CheckForm(image, kernels); !status.ok()) return status;
  std::unique_ptr<PanelWeight> weight(
      new PanelWeight(image, static_cast<PanelLayout>(image.form[0]), kernels));
  if (weight->segments_.padded_k > kProductPackedRows) {
    return Refuse(image, "padded k", weight->segments_.padded_k);
  }
  const int64_t num_scales = weight->num_panels_ *
                             static_cast<int64_t>(weight->segments_.lengths.size()) *
                             (weight->lane_scales_ ? kPanelColumns : 1);
  const bool is_compact = IsCompact(weight->layout_);
  if (image.pieces.size() < kFewestPieces || (image.pieces.size() > kFewestPieces && !is_compact)) {
    return Refuse(image, "number of pieces", static_cast<int64_t>(image.pieces.size()));
  }
  for (const std::span<const std::byte>& piece : image.pieces) {
    const uintptr_t past = reinterpret_cast<uintptr_t>(piece.data()) % WeightImage::kAlignment;
    if (past == 0) continue;
    return Refuse(image, "alignment", static_cast<int64_t>(past));
  }
  const std::span<const std::byte> panels = image.pieces[0];
  const std::span<const std::byte> scales = image.pieces[1];
  if (panels.size() != static_cast<size_t>(weight->panel_bytes_ * weight->num_panels_)) {
    return Refuse(image, "bytes of elements", static_cast<int64_t>(panels.size()));
  }
  const bool wants_scales = weight->layout_ == PanelLayout::kColumnsFloat8 ||
                            weight->layout_ == PanelLayout::kPairsFloat8 || weight->lane_scales_;
  const bool fits =
      scales.empty()
          ? !wants_scales || num_scales == 0
          : !is_compact && scales.size() == static_cast<size_t>(num_scales) * sizeof(float);
  if (!fits) {
    return Refuse(image, "bytes of scales", static_cast<int64_t>(scales.size()));
  }
  weight->panels_ = panels.data();
  weight->scales_ = {reinterpret_cast<const float*>(scales.data()), scales.size() / sizeof(float)};
  weight->owner_ = std::move(owner);
  if (is_compact) {
    if (absl::Status status = weight->AdoptPlainPanels(image); !status.ok()) return status;
  }
  return weight;
}

absl::Status PanelWeight::AdoptPlainPanels(const WeightImage& image) {
  plain_panels_.resize(static_cast<size_t>(num_panels_));
  size_t piece = kFewestPieces;
  for (int64_t panel = 0; panel < num_panels_; ++panel) {
    const CompactPanelState state = StateOf(panels_ + panel * panel_bytes_, segments_.padded_k);
    if (state == CompactPanelState::kDamaged) return Refuse(image, "the damaged panel", panel);
    if (state == CompactPanelState::kCompact) continue;
    if (piece == image.pieces.size() ||
        image.pieces[piece].size() != static_cast<size_t>(plain_bytes_)) {
      return Refuse(image, "the panel that is nowhere", panel);
    }
    plain_panels_[static_cast<size_t>(panel)] = image.pieces[piece++].data();
  }
  if (piece == image.pieces.size()) return absl::OkStatus();
  return Refuse(image, "number of pieces", static_cast<int64_t>(image.pieces.size()));
}

}  // namespace baton::kernels::cpu
