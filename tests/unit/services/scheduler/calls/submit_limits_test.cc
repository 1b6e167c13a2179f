#include "services/scheduler/calls/submit_limits.h"

#include <functional>
#include <limits>
#include <string>

#include "gtest/gtest.h"

#include "common/rpc/peer.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kVocabSize = 100;

v1::SubmitRequest MakeRequest() {
  v1::SubmitRequest request;
  *request.mutable_peer() = MakePeerInfo("gateway");
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  return request;
}

struct Case {
  const char* culprit;
  std::function<void(v1::SubmitRequest*)> spoil;
};

TEST(CheckSubmitRequest, TakesCompleteRequests) {
  v1::SubmitRequest request = MakeRequest();
  EXPECT_TRUE(CheckSubmitRequest(request, kVocabSize).ok());
  request.mutable_sampling()->set_temperature(2);
  request.mutable_sampling()->set_top_p(0.01f);
  request.mutable_sampling()->set_min_p(1);
  request.mutable_sampling()->set_num_top_logprobs(20);
  request.mutable_sampling()->add_allowed_token_ids(99);
  EXPECT_TRUE(CheckSubmitRequest(request, kVocabSize).ok());
}

TEST(CheckSubmitRequest, NamesTheFieldThatIsWrong) {
  const Case cases[] = {
      {"temperature", [](auto* r) { r->mutable_sampling()->set_temperature(2.5f); }},
      {"temperature",
       [](auto* r) {
         r->mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
       }},
      {"top_p", [](auto* r) { r->mutable_sampling()->set_top_p(0); }},
      {"min_p", [](auto* r) { r->mutable_sampling()->set_min_p(-0.1f); }},
      {"presence_penalty", [](auto* r) { r->mutable_sampling()->set_presence_penalty(3); }},
      {"frequency_penalty", [](auto* r) { r->mutable_sampling()->set_frequency_penalty(-3); }},
      {"repetition_penalty", [](auto* r) { r->mutable_sampling()->set_repetition_penalty(0); }},
      {"num_top_logprobs", [](auto* r) { r->mutable_sampling()->set_num_top_logprobs(21); }},
      {"num_prompt_logprobs", [](auto* r) { r->mutable_sampling()->set_num_prompt_logprobs(21); }},
      {"allowed_token_ids",
       [](auto* r) { r->mutable_sampling()->add_allowed_token_ids(kVocabSize); }},
      {"logit_bias",
       [](auto* r) { r->mutable_sampling()->add_logit_bias()->set_token_id(kVocabSize); }},
      {"banned_sequences",
       [](auto* r) { r->mutable_sampling()->add_banned_sequences()->add_token_ids(kVocabSize); }},
      {"reasoning_budget",
       [](auto* r) {
         r->mutable_sampling()->mutable_reasoning_budget()->set_end_token_id(kVocabSize);
       }},
      {"reasoning_budget",
       [](auto* r) {
         r->mutable_sampling()->mutable_reasoning_budget()->set_begin_after_token_id(kVocabSize);
       }},
      {"logit_bias", [](auto* r) { r->mutable_sampling()->add_logit_bias()->set_bias(101); }},
      {"request_id", [](auto* r) { r->set_request_id(std::string(257, 'x')); }},
      {"fairness_key", [](auto* r) { r->set_fairness_key(std::string(65, 'x')); }},
      {"cache_salt", [](auto* r) { r->set_cache_salt(std::string(257, 'x')); }},
  };
  for (const Case& entry : cases) {
    v1::SubmitRequest request = MakeRequest();
    entry.spoil(&request);
    const absl::Status status = CheckSubmitRequest(request, kVocabSize);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << entry.culprit;
    EXPECT_NE(status.message().find(entry.culprit), std::string::npos) << status;
  }
}

TEST(CheckSubmitRequest, RefusesPromptLogprobsThatNoMessageCarries) {
  v1::SubmitRequest request = MakeRequest();
  for (int i = 0; i < 21000; ++i) request.add_prompt_token_ids(1);
  EXPECT_TRUE(CheckSubmitRequest(request, kVocabSize).ok());
  request.mutable_sampling()->set_num_prompt_logprobs(10);
  EXPECT_TRUE(CheckSubmitRequest(request, kVocabSize).ok());
  request.mutable_sampling()->set_num_prompt_logprobs(20);
  const absl::Status status = CheckSubmitRequest(request, kVocabSize);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.message().find("21000 prompt tokens"), std::string::npos) << status;
}

// The bound must not be below what is really sent.
TEST(CheckSubmitRequest, PromptLogprobsThatPassFitIntoAMessage) {
  v1::SubmitRequest request = MakeRequest();
  request.mutable_sampling()->set_num_prompt_logprobs(20);
  v1::SubmitResponse response;
  while (CheckSubmitRequest(request, kVocabSize).ok()) {
    for (int i = 0; i < 100; ++i) request.add_prompt_token_ids(1);
    for (int i = 0; i < 100 && CheckSubmitRequest(request, kVocabSize).ok(); ++i) {
      v1::PositionLogprobs* position = response.add_prompt_logprobs();
      for (int k = 0; k <= 20; ++k) {
        v1::TokenLogprob* entry = k == 0 ? position->mutable_token() : position->add_top();
        entry->set_token_id(UINT32_MAX);
        entry->set_logprob(-1.0f);
        entry->set_rank(UINT32_MAX);
      }
    }
  }
  EXPECT_GT(response.prompt_logprobs_size(), 15000);
  EXPECT_LT(response.ByteSizeLong(), size_t{8} << 20);
}

TEST(CheckSubmitRequest, RefusesCallersWithoutVersion) {
  v1::SubmitRequest request = MakeRequest();
  request.clear_peer();
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckSubmitRequest(request, kVocabSize)));
}

}  // namespace
}  // namespace baton::scheduler
