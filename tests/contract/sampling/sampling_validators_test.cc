// Three roles check sampling parameters. Each must take whatever the one before it lets through:
// what a stage refuses would end the epoch of everyone, again and again.
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "common/sampling/sampling_limits.h"
#include "services/gateway/admission/request_validator.h"
#include "services/scheduler/calls/submit_limits.h"
#include "services/stage_worker/clients/step_conversion.h"

namespace baton {
namespace {

constexpr uint32_t kVocabSize = 100000;

using Setter = std::function<void(v1::SamplingParams*, float)>;

const std::vector<Setter>& Setters() {
  static const auto* const kSetters = new std::vector<Setter>{
      [](auto* params, float value) { params->set_temperature(value); },
      [](auto* params, float value) { params->set_top_p(value); },
      [](auto* params, float value) { params->set_min_p(value); },
      [](auto* params, float value) { params->set_presence_penalty(value); },
      [](auto* params, float value) { params->set_frequency_penalty(value); },
      [](auto* params, float value) { params->set_repetition_penalty(value); },
      [](auto* params, float value) { params->add_logit_bias()->set_bias(value); },
  };
  return *kSetters;
}

// Every power of ten that a float has, the limits and their neighbours, and no numbers at all.
std::vector<float> SweptValues() {
  std::vector<float> values = {0.0f,
                               std::numeric_limits<float>::denorm_min(),
                               std::numeric_limits<float>::min(),
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  for (int power = -45; power <= 38; ++power) values.push_back(std::pow(10.0f, power));
  for (float limit : {1.0f, kMaxTemperature, kLeastTopP, kMaxRepetitionPenalty, kMaxLogitBias}) {
    for (float to : {0.0f, 1e38f}) values.push_back(std::nextafter(limit, to));
    values.push_back(limit);
  }
  const size_t size = values.size();
  for (size_t i = 0; i < size; ++i) values.push_back(-values[i]);
  return values;
}

bool SchedulerTakes(const v1::SamplingParams& params) {
  v1::SubmitRequest request;
  *request.mutable_peer() = MakePeerInfo("gateway");
  *request.mutable_sampling() = params;
  return scheduler::CheckSubmitRequest(request, kVocabSize).ok();
}

bool StageTakes(const v1::SamplingParams& params) {
  v1::StepCommand command;
  *command.add_new_sequences()->mutable_sampling() = params;
  return stage::DecodeStep(command).ok();
}

v1::SamplingParams Neutral() {
  v1::SamplingParams params;
  params.set_top_p(1);
  params.set_repetition_penalty(1);
  return params;
}

TEST(SamplingValidators, AStageTakesWhatTheSchedulerTakes) {
  int num_taken = 0;
  for (const Setter& set : Setters()) {
    for (float value : SweptValues()) {
      v1::SamplingParams params = Neutral();
      set(&params, value);
      EXPECT_EQ(SchedulerTakes(params), StageTakes(params)) << params.ShortDebugString();
      num_taken += StageTakes(params) ? 1 : 0;
    }
  }
  EXPECT_GT(num_taken, 300);
}

TEST(SamplingValidators, ListsHaveTheSameBounds) {
  for (int count : {kMaxLogitBiases, kMaxLogitBiases + 1}) {
    v1::SamplingParams params = Neutral();
    for (int i = 0; i < count; ++i) params.add_logit_bias();
    EXPECT_EQ(SchedulerTakes(params), count == kMaxLogitBiases);
    EXPECT_EQ(StageTakes(params), count == kMaxLogitBiases);
  }
  for (int count : {kMaxAllowedTokens, kMaxAllowedTokens + 1}) {
    v1::SamplingParams params = Neutral();
    for (int i = 0; i < count; ++i) params.add_allowed_token_ids(static_cast<uint32_t>(i));
    EXPECT_EQ(SchedulerTakes(params), count == kMaxAllowedTokens);
    EXPECT_EQ(StageTakes(params), count == kMaxAllowedTokens);
  }
  for (int count : {kMaxMaskedTokens, kMaxMaskedTokens + 1}) {
    v1::SamplingParams params = Neutral();
    for (int i = 0; i < count; ++i) params.add_masked_token_ids(static_cast<uint32_t>(i));
    EXPECT_EQ(SchedulerTakes(params), count == kMaxMaskedTokens);
    EXPECT_EQ(StageTakes(params), count == kMaxMaskedTokens);
  }
}

// The gateway's numbers are doubles: what it admits has to be in range as a float too.
TEST(SamplingValidators, TheSchedulerTakesWhatTheGatewayAdmits) {
  const gateway::RequestValidator validator(gateway::SamplingDefaults{},
                                            {.max_model_len = 1000, .vocab_size = kVocabSize});
  std::vector<double> values = {1e-300, 1e-46, 1e-35, 1e300, 1.0 + 1e-12};
  for (float value : SweptValues()) values.push_back(value);
  for (double value : values) {
    gateway::RequestedParams requested;
    requested.top_p = value;
    if (const auto admitted = validator.Admit(requested); admitted.ok()) {
      v1::SamplingParams params = Neutral();
      params.set_top_p(static_cast<float>(admitted->top_p));
      EXPECT_TRUE(SchedulerTakes(params)) << "top_p " << value;
    }
    requested = {};
    requested.repetition_penalty = value;
    if (const auto admitted = validator.Admit(requested); admitted.ok()) {
      v1::SamplingParams params = Neutral();
      params.set_repetition_penalty(static_cast<float>(admitted->repetition_penalty));
      EXPECT_TRUE(SchedulerTakes(params)) << "repetition_penalty " << value;
    }
  }
}

}  // namespace
}  // namespace baton
