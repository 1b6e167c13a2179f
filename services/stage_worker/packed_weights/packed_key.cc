#include "services/stage_worker/packed_weights/packed_key.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"
#include "services/stage_worker/packed_weights/packed_format.h"

namespace baton::stage {
namespace {

// The first `num_digits` of the hex digest.
std::string ShortDigest(absl::string_view text, size_t num_digits) {
  const Sha256Digest digest = Sha256(text);
  return absl::BytesToHexString(AsBytes(digest)).substr(0, num_digits);
}

}  // namespace

PackedKey MakePackedKey(const PackedOrigin& origin, const WeightStore& store) {
  const WeightStoreOptions& options = store.options();
  const StageShape& stage = options.stage;
  const std::string stage_facts = absl::StrCat(
      "model ", origin.model_fingerprint, "\nlayers ", stage.layer_begin, " to ", stage.layer_end,
      "\nembedding ", stage.has_embedding, " head ", stage.has_head, " mtp ", stage.has_mtp,
      "\nranks ", options.first_rank, " + ", options.num_local_ranks, " of ", options.num_ranks,
      "\ncompute ", Name(options.compute_type), "\nexpanded ", options.expand_prompts, "\npacking ",
      store.packing(), "\n");
  PackedKey key;
  key.text = absl::StrCat("format ", kPackedFormat, "\nbuild ", origin.build_id, "\ncheckpoint ",
                          origin.checkpoint_fingerprint, "\n", stage_facts, "places ",
                          store.places_digest(), "\n");
  key.stage_prefix = absl::StrCat(ShortDigest(stage_facts, 16), "-");
  key.file_name = absl::StrCat(key.stage_prefix, ShortDigest(key.text, 32), ".packed");
  return key;
}

}  // namespace baton::stage
