// All places of a device's weights in one order, each with what belongs there: how packed weights
// go to a file and come back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/tensor/data_type.h"
#include "common/tensor/tensor_view.h"
#include "kernels/api/weight_image.h"
#include "services/stage_worker/weights/stage_weights.h"
#include "services/stage_worker/weights/weight_store_options.h"

namespace baton::stage {

// A weight of StageWeights. Exactly one of `packed` and `table` is set.
struct NamedPlace {
  std::string name;     // its tensor's, and which part of that if there are several
  int64_t rows = 0;     // 0: this model or stage has no such tensor, and the place stays empty
  int64_t columns = 0;  // as `rows`, of the part that this device has
  // Of a table: its elements'. Of a packed weight: the checkpoint's.
  DataType type = DataType::kFloat32;
  PackedPtr* packed = nullptr;
  TensorView* table = nullptr;  // norms, biases and embeddings
};

// Of weights that a WeightBuilder with these options has made room for. Holds as long as they live.
std::vector<NamedPlace> PlacesOf(StageWeights& weights, const WeightStoreOptions& options);

// Hex SHA-256 of names, shapes, types and kinds, in order.
std::string DigestOf(const std::vector<NamedPlace>& places);

// What fills a place, as bytes.
struct PlacedBytes {
  enum class Kind : uint32_t { kEmpty, kPacked, kTable };

  Kind kind = Kind::kEmpty;
  // kTable: n rows of k elements, side by side, of type form[0], in one piece.
  kernels::WeightImage image;
};

// Sets what borrows from a layer's places.
void SetBorrows(StageWeights& weights);

}  // namespace baton::stage
