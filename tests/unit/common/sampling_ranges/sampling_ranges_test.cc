#include "common/sampling_ranges/sampling_ranges.h"

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/sampling/sampling_limits.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

v1::SamplingParams Ordinary() {
  v1::SamplingParams params;
  params.set_temperature(1);
  params.set_top_p(1);
  params.set_repetition_penalty(1);
  return params;
}

void SetOutput(v1::SamplingParams* params) {
  v1::StructuredOutput* output = params->mutable_structured_output();
  output->set_kind(v1::StructuredOutput::KIND_JSON_OBJECT);
  output->add_end_token_ids(1);
}

struct RangeCase {
  std::string field;
  std::function<void(v1::SamplingParams*)> furthest;  // within the range
  std::function<void(v1::SamplingParams*)> spoil;     // just beyond it
};

// Both ends of the range of a number.
void AddEnds(std::vector<RangeCase>* cases, const std::string& field, float low, float high,
             const std::function<void(v1::SamplingParams*, float)>& set) {
  const auto with = [set](float value) {
    return [set, value](v1::SamplingParams* params) { set(params, value); };
  };
  cases->push_back({field, with(low), with(std::nextafter(low, -INFINITY))});
  cases->push_back({field, with(high), with(std::nextafter(high, INFINITY))});
  cases->push_back({field, with(high), with(std::nanf(""))});
}

// The largest list.
void AddMost(std::vector<RangeCase>* cases, const std::string& field, int most,
             const std::function<void(v1::SamplingParams*)>& add_one) {
  const auto with = [add_one](int count) {
    return [add_one, count](v1::SamplingParams* params) {
      for (int i = 0; i < count; ++i) add_one(params);
    };
  };
  cases->push_back({field, with(most), with(most + 1)});
}

std::vector<RangeCase> NumberCases() {
  std::vector<RangeCase> cases;
  using Params = v1::SamplingParams;
  AddEnds(&cases, "temperature", 0, kMaxTemperature,
          [](Params* params, float value) { params->set_temperature(value); });
  AddEnds(&cases, "top_p", kLeastTopP, 1,
          [](Params* params, float value) { params->set_top_p(value); });
  AddEnds(&cases, "min_p", 0, 1, [](Params* params, float value) { params->set_min_p(value); });
  AddEnds(&cases, "presence_penalty", -kMaxPenalty, kMaxPenalty,
          [](Params* params, float value) { params->set_presence_penalty(value); });
  AddEnds(&cases, "frequency_penalty", -kMaxPenalty, kMaxPenalty,
          [](Params* params, float value) { params->set_frequency_penalty(value); });
  AddEnds(&cases, "repetition_penalty", kLeastRepetitionPenalty, kMaxRepetitionPenalty,
          [](Params* params, float value) { params->set_repetition_penalty(value); });
  AddEnds(&cases, "logit_bias", -kMaxLogitBias, kMaxLogitBias,
          [](Params* params, float value) { params->add_logit_bias()->set_bias(value); });
  return cases;
}

std::vector<RangeCase> CountCases() {
  std::vector<RangeCase> cases;
  using Params = v1::SamplingParams;
  cases.push_back({"num_top_logprobs",
                   [](Params* params) { params->set_num_top_logprobs(kMaxTopLogprobs); },
                   [](Params* params) { params->set_num_top_logprobs(kMaxTopLogprobs + 1); }});
  cases.push_back({"num_prompt_logprobs",
                   [](Params* params) { params->set_num_prompt_logprobs(kMaxTopLogprobs); },
                   [](Params* params) { params->set_num_prompt_logprobs(kMaxTopLogprobs + 1); }});
  AddMost(&cases, "logit_bias", kMaxLogitBiases, [](Params* params) { params->add_logit_bias(); });
  AddMost(&cases, "allowed_token_ids", kMaxAllowedTokens,
          [](Params* params) { params->add_allowed_token_ids(1); });
  AddMost(&cases, "masked_token_ids", kMaxMaskedTokens,
          [](Params* params) { params->add_masked_token_ids(1); });
  AddMost(&cases, "banned_sequences", kMaxBannedSequences,
          [](Params* params) { params->add_banned_sequences()->add_token_ids(1); });
  AddMost(&cases, "tokens in banned_sequences", kMaxBannedTokens, [](Params* params) {
    if (params->banned_sequences().empty()) params->add_banned_sequences();
    params->mutable_banned_sequences(0)->add_token_ids(1);
  });
  cases.push_back({"banned_sequences holds one without tokens", [](Params*) {},
                   [](Params* params) { params->add_banned_sequences(); }});
  return cases;
}

std::vector<RangeCase> OutputCases() {
  using Params = v1::SamplingParams;
  const auto with_text = [](int bytes) {
    return [bytes](Params* params) {
      SetOutput(params);
      params->mutable_structured_output()->set_text(std::string(bytes, 'x'));
    };
  };
  const auto with_choices = [](int bytes) {
    return [bytes](Params* params) {
      SetOutput(params);
      params->mutable_structured_output()->add_choices(std::string(bytes - 1, 'x'));
      params->mutable_structured_output()->add_choices("y");
    };
  };
  const auto with_pattern = [](int bytes) {
    return [bytes](Params* params) {
      SetOutput(params);
      params->mutable_structured_output()->set_whitespace_pattern(std::string(bytes, ' '));
    };
  };
  std::vector<RangeCase> cases = {
      {"structured_output", SetOutput,
       [](Params* params) {
         SetOutput(params);
         params->mutable_structured_output()->set_kind(v1::StructuredOutput::KIND_UNSPECIFIED);
       }},
      {"end_token_ids", SetOutput,
       [](Params* params) {
         SetOutput(params);
         params->mutable_structured_output()->clear_end_token_ids();
       }},
      {"structured_output's text", with_text(kMaxConstraintBytes),
       with_text(kMaxConstraintBytes + 1)},
      {"choices", with_choices(kMaxConstraintBytes), with_choices(kMaxConstraintBytes + 1)},
      {"whitespace_pattern", with_pattern(kMaxWhitespacePatternBytes),
       with_pattern(kMaxWhitespacePatternBytes + 1)},
  };
  const auto with_ends = [](int count) {
    return [count](Params* params) {
      SetOutput(params);
      while (params->structured_output().end_token_ids_size() < count) {
        params->mutable_structured_output()->add_end_token_ids(1);
      }
    };
  };
  cases.push_back({"end_token_ids", with_ends(kMaxEndTokens), with_ends(kMaxEndTokens + 1)});
  return cases;
}

std::vector<RangeCase> AllCases() {
  std::vector<RangeCase> all = NumberCases();
  for (std::vector<RangeCase> more : {CountCases(), OutputCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

TEST(SamplingRanges, TakesWhatIsOrdinary) {
  EXPECT_TRUE(CheckSamplingRanges(Ordinary()).ok());
  EXPECT_FALSE(CheckSamplingRanges({}).ok()) << "top_p is 0";
}

TEST(SamplingRanges, TakesTheEndsOfEachRangeAndNothingBeyond) {
  for (const RangeCase& entry : AllCases()) {
    v1::SamplingParams params = Ordinary();
    entry.furthest(&params);
    EXPECT_TRUE(CheckSamplingRanges(params).ok())
        << entry.field << ": " << CheckSamplingRanges(params);
    v1::SamplingParams spoilt = Ordinary();
    entry.spoil(&spoilt);
    const absl::Status status = CheckSamplingRanges(spoilt);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << entry.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(entry.field));
  }
}

// A new field gets its cases above, or its place among those of which every value is taken.
TEST(SamplingRanges, EveryFieldHasACase) {
  const std::set<std::string> free = {"top_k", "seed", "logprobs", "min_tokens",
                                      "reasoning_budget"};
  std::set<std::string> fields = free;
  for (const RangeCase& entry : AllCases()) fields.insert(entry.field);
  const google::protobuf::Descriptor* descriptor = v1::SamplingParams::descriptor();
  ASSERT_GT(descriptor->field_count(), 0);
  for (int i = 0; i < descriptor->field_count(); ++i) {
    EXPECT_TRUE(fields.contains(descriptor->field(i)->name())) << descriptor->field(i)->name();
  }
}

}  // namespace
}  // namespace baton
