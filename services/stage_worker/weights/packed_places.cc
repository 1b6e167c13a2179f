// WeightBuilder's weights as bytes, and taken up again.
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/stage_worker/weights/weight_builder.h"
#include "services/stage_worker/weights/weight_places.h"

namespace baton::stage {
namespace {

using Kind = PlacedBytes::Kind;

Kind KindOf(const NamedPlace& place) {
  if (place.rows == 0) return Kind::kEmpty;
  return place.packed != nullptr ? Kind::kPacked : Kind::kTable;
}

// An image whose n and k are right.
absl::StatusOr<TensorView> TableOf(const kernels::WeightImage& image, DataType type) {
  if (image.form[0] != static_cast<int64_t>(type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the table's type is ", image.form[0], ", not ", Name(type)));
  }
  if (image.pieces.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the table has ", image.pieces.size(), " pieces"));
  }
  const std::span<const std::byte> bytes = image.pieces[0];
  const uint64_t wanted = static_cast<uint64_t>(image.n) * static_cast<uint64_t>(image.k) *
                          static_cast<uint64_t>(SizeOf(type));
  if (bytes.size() != wanted ||
      reinterpret_cast<uintptr_t>(bytes.data()) % kernels::WeightImage::kAlignment != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the table has ", bytes.size(), " bytes, not ", wanted, " aligned ones"));
  }
  // Nobody writes to a table once it is complete.
  return TensorView{const_cast<std::byte*>(bytes.data()), type, image.n, image.k, image.k};
}

absl::Status CheckShape(const NamedPlace& place, const PlacedBytes& from) {
  if (from.kind != KindOf(place)) {
    return absl::InvalidArgumentError(absl::StrCat("kind ", static_cast<uint32_t>(from.kind),
                                                   ", not ", static_cast<uint32_t>(KindOf(place))));
  }
  if (from.kind == Kind::kEmpty || (from.image.n == place.rows && from.image.k == place.columns)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(from.image.n, " x ", from.image.k, ", not ", place.rows, " x ", place.columns));
}

uint64_t BytesOf(const kernels::WeightImage& image) {
  uint64_t bytes = 0;
  for (const std::span<const std::byte>& piece : image.pieces) bytes += piece.size();
  return bytes;
}

}  // namespace

// What a place gets; both are unset for an empty one.
struct WeightBuilder::AdoptedPlace {
  PackedPtr packed;
  TensorView table;
};

std::vector<NamedPlace> WeightBuilder::Places() const {
  // Places are found by writable reference alone.
  return PlacesOf(const_cast<StageWeights&>(weights_), options_);
}

absl::StatusOr<std::vector<PlacedBytes>> WeightBuilder::Export() const {
  std::vector<PlacedBytes> placed;
  uint64_t bytes = 0;
  for (const NamedPlace& place : Places()) {
    PlacedBytes& out = placed.emplace_back();
    if (place.packed != nullptr && *place.packed != nullptr) {
      out = {Kind::kPacked, ops_->Export(**place.packed)};
    } else if (place.table != nullptr && place.table->data != nullptr) {
      const TensorView& table = *place.table;
      out.kind = Kind::kTable;
      out.image.n = table.rows;
      out.image.k = table.columns;
      out.image.form[0] = static_cast<int64_t>(table.type);
      out.image.pieces = {{static_cast<const std::byte*>(table.data),
                           static_cast<size_t>(table.num_elements()) * SizeOf(table.type)}};
    }
    if (absl::Status status = CheckShape(place, out); !status.ok()) {
      return absl::InternalError(absl::StrCat(place.name, ": ", status.message()));
    }
    bytes += BytesOf(out.image);
  }
  if (bytes == resident_bytes_) return placed;
  return absl::InternalError(absl::StrCat("the places of weights hold ", bytes, " bytes, not all ",
                                          resident_bytes_, " of them"));
}

absl::Status WeightBuilder::AdoptOne(const NamedPlace& place, const PlacedBytes& from,
                                     const std::shared_ptr<const void>& owner,
                                     AdoptedPlace& adopted) const {
  RETURN_IF_ERROR(CheckShape(place, from));
  if (from.kind == Kind::kPacked) {
    ASSIGN_OR_RETURN(adopted.packed, ops_->Adopt(from.image, owner));
  } else if (from.kind == Kind::kTable) {
    ASSIGN_OR_RETURN(adopted.table, TableOf(from.image, place.type));
  }
  return absl::OkStatus();
}

absl::Status WeightBuilder::Adopt(std::span<const PlacedBytes> placed,
                                  const std::shared_ptr<const void>& owner) {
  const std::vector<NamedPlace> places = Places();
  if (placed.size() != places.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(placed.size(), " packed weights; the device has ", places.size()));
  }
  std::vector<AdoptedPlace> adopted(places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    RETURN_IF_ERROR(Annotate(AdoptOne(places[i], placed[i], owner, adopted[i]),
                             absl::StrCat("packed weight of ", places[i].name)));
  }
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].packed != nullptr) *places[i].packed = std::move(adopted[i].packed);
    if (places[i].table != nullptr) *places[i].table = adopted[i].table;
    resident_bytes_ += BytesOf(placed[i].image);
  }
  adopted_owner_ = owner;
  SetBorrows(weights_);
  return absl::OkStatus();
}

}  // namespace baton::stage
