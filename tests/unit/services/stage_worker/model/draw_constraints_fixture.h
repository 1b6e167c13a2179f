// Rows that draw with constraints, over a vocabulary of bytes and some long tokens.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "services/stage_worker/model/draw_constraints.h"

namespace baton::stage {

class DrawConstraintsTest : public testing::Test {
 protected:
  static constexpr uint32_t kEnd = 256;
  static constexpr uint32_t kThink = 257;
  static constexpr size_t kVocabSize = 4000;

  // All bytes, an end token, a token that ends the reasoning, and many long tokens.
  static std::shared_ptr<const structured::VocabularyTrie> MakeBytes() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
      tokens.push_back(std::string(1, static_cast<char>(byte)));
    tokens.resize(258);
    while (tokens.size() < kVocabSize) tokens.push_back("t" + std::to_string(tokens.size()));
    return std::make_shared<structured::VocabularyTrie>(tokens, kVocabSize);
  }

  // Compiling takes no time: however slow the machine is, no step has waited for long enough.
  static ConstraintOptions Options(size_t capacity_bytes = size_t{64} << 20) {
    ConstraintOptions options;
    options.capacity_bytes = capacity_bytes;
    options.now = [] { return std::chrono::steady_clock::time_point(); };
    return options;
  }

  DrawConstraintsTest() { constraints_.SetVocabulary(MakeBytes()); }

  static SamplingSettings Choosing(std::vector<std::string> choices) {
    auto structured = std::make_shared<StructuredSettings>();
    structured->constraint.kind = structured::ConstraintKind::kChoice;
    structured->constraint.choices = std::move(choices);
    structured->end_token_ids = {kEnd};
    SamplingSettings settings;
    settings.structured = structured;
    return settings;
  }

  static DrawRow Row(SamplingSettings settings, std::vector<uint32_t> answer = {}) {
    DrawRow draw;
    draw.sequence_id = 5;
    draw.sampling = std::make_shared<const SamplingSettings>(std::move(settings));
    draw.answer_tokens = std::move(answer);
    return draw;
  }

  // At the begin of its reasoning, of which the answer must be `choice` behind it.
  static DrawRow Reasoning(uint64_t id, const std::string& choice) {
    SamplingSettings settings = Choosing({choice});
    auto structured = std::make_shared<StructuredSettings>(*settings.structured);
    structured->begin_after_token_id = kThink;
    settings.structured = structured;
    DrawRow draw = Row(settings);
    draw.sequence_id = id;
    return draw;
  }

  std::vector<uint32_t> AllowedAt(const DrawRow& draw) {
    const auto tokens = constraints_.TokensFor(draw);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return tokens.ok() ? tokens->allowed : std::vector<uint32_t>();
  }

  DrawConstraints constraints_{Options()};
};

}  // namespace baton::stage
