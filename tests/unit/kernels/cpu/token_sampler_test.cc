#include "kernels/cpu/token_sampler.h"

#include <cmath>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cpu {
namespace {

uint32_t Draw(TokenSampler& sampler, const std::vector<float>& logits, const SamplingRow& row) {
  SampleResult result;
  sampler.Sample(logits.data(), static_cast<int64_t>(logits.size()), row, &result);
  EXPECT_TRUE(result.finite);
  return result.token_id;
}

TEST(TokenSampler, LeavesNoTraceOfARowsPenalties) {
  TokenSampler sampler(*PortableKernels());
  const std::vector<float> logits = {1.0f, 2.0f, 1.5f};
  const std::vector<uint32_t> answer = {1, 1, 1};
  SamplingRow penalised;
  penalised.answer_tokens = answer;
  penalised.frequency_penalty = 1.0f;
  EXPECT_EQ(Draw(sampler, logits, penalised), 2u);
  EXPECT_EQ(Draw(sampler, logits, {}), 1u);
  EXPECT_EQ(Draw(sampler, logits, penalised), 2u);
}

TEST(TokenSampler, ServesVocabulariesOfDifferentSizes) {
  TokenSampler sampler(*PortableKernels());
  const std::vector<uint32_t> prompt = {0};
  SamplingRow row;
  row.prompt_tokens = prompt;
  row.repetition_penalty = 1.5f;
  row.temperature = 1.0f;
  row.top_p = 0.9f;
  for (size_t size : {5u, 500u, 7u, 1u}) {
    EXPECT_LT(Draw(sampler, std::vector<float>(size, 1.0f), row), size);
  }
}

// A flat distribution makes the nucleus large: drawn in vectors, not one by one.
TEST(TokenSampler, DrawsFromLargeNuclei) {
  TokenSampler sampler(*PortableKernels());
  constexpr size_t kSize = 4000;
  std::vector<float> logits(kSize, 0.0f);
  for (size_t i = 0; i < kSize / 2; ++i) logits[2 * i] = 1.0f;  // e / (1 + e) = 0.73 of the mass
  SamplingRow row;
  row.temperature = 1.0f;
  row.top_p = 0.5f;
  std::set<uint32_t> drawn;
  for (row.position = 0; row.position < 500; ++row.position) {
    const uint32_t token = Draw(sampler, logits, row);
    EXPECT_EQ(token % 2, 0u);
    // 0.5 of the mass is the first 1368 even tokens' share: ties go by id.
    EXPECT_LE(token, 2 * static_cast<uint32_t>(std::ceil(0.5 / 0.7310586 * kSize / 2)));
    drawn.insert(token);
  }
  EXPECT_GT(drawn.size(), 350u);
}

TEST(TokenSampler, AMinPOfOneKeepsOnlyTheLargest) {
  TokenSampler sampler(*PortableKernels());
  SamplingRow row;
  row.temperature = 1.0f;
  row.min_p = 1.0f;
  for (row.position = 0; row.position < 50; ++row.position) {
    EXPECT_EQ(Draw(sampler, {0.0f, 1.0f, 0.99f}, row), 1u);
  }
}

}  // namespace
}  // namespace baton::kernels::cpu
