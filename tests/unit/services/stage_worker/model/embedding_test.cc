#include "services/stage_worker/model/embedding.h"

#include "gtest/gtest.h"

#include "common/tensor/bfloat16.h"
#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

TEST(EmbedTokens, GivesTheTablesRowsExactlyFromAnyShard) {
  const std::vector<uint32_t> tokens = {0, 19, 20, 39, 40, 59, 20};
  for (int num_ranks : {1, 3}) {
    fakes::ToyDevice device(num_ranks);
    EmbedTokens(device.context(), device.Rows(0, tokens), device.weights().embedding, "embed");
    const fakes::MemoryTensor& table =
        device.checkpoint().tensors().at("model.embed_tokens.weight");
    const auto* values = reinterpret_cast<const BFloat16*>(table.bytes.data());
    for (size_t t = 0; t < tokens.size(); ++t) {
      for (int64_t i = 0; i < table.columns; ++i) {
        ASSERT_EQ(device.workspace().residual.Row<float>(static_cast<int64_t>(t))[i],
                  ToFloat(values[tokens[t] * table.columns + i]));
      }
    }
  }
}

}  // namespace
}  // namespace baton::stage
