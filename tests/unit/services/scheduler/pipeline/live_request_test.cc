#include "services/scheduler/pipeline/live_request.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

v1::PromptLogprobs MakeChunk(uint32_t begin, uint32_t count) {
  v1::PromptLogprobs chunk;
  chunk.set_begin(begin);
  for (uint32_t i = 0; i < count; ++i) {
    chunk.add_positions()->mutable_token()->set_token_id(begin + i);
  }
  return chunk;
}

LiveRequest MakeLive(uint32_t num_prompt_tokens) {
  LiveRequest live;
  live.num_prompt_tokens = num_prompt_tokens;
  live.sampling.set_num_prompt_logprobs(0);
  return live;
}

TEST(LiveRequest, SendsPromptLogprobsOnceInOrder) {
  LiveRequest live = MakeLive(6);
  KeepPromptLogprobs(MakeChunk(4, 2), &live);
  KeepPromptLogprobs(MakeChunk(1, 3), &live);
  KeepPromptLogprobs(MakeChunk(0, 9), &live);  // computed anew, and out of range at both ends
  const SequenceNews news{.id = 1, .token = 9};
  const v1::SubmitResponse first = MakeResponse(news, nullptr, &live);
  ASSERT_EQ(first.prompt_logprobs_size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(first.prompt_logprobs(i).token().token_id(), static_cast<uint32_t>(i + 1));
  }
  KeepPromptLogprobs(MakeChunk(1, 3), &live);
  EXPECT_EQ(MakeResponse(news, nullptr, &live).prompt_logprobs_size(), 0);
}

TEST(LiveRequest, TellsWithTheFirstTokenWhatWasCached) {
  LiveRequest live = MakeLive(130);
  live.num_cached_prompt_tokens = 128;
  const SequenceNews news{.id = 1, .token = 9};
  EXPECT_EQ(MakeResponse(news, nullptr, &live).cached_prompt_tokens(), 128u);
  EXPECT_EQ(MakeResponse(news, nullptr, &live).cached_prompt_tokens(), 0u);
}

TEST(LiveRequest, ReadsTheCacheUnlessPromptLogprobsAreWanted) {
  v1::SubmitRequest request;
  request.set_cache_salt("salt");
  EXPECT_TRUE(MakeSequenceRequest(1, request).reads_cache);
  EXPECT_EQ(MakeSequenceRequest(1, request).cache_salt, "salt");
  request.mutable_sampling()->set_num_prompt_logprobs(0);
  EXPECT_FALSE(MakeSequenceRequest(1, request).reads_cache);
}

TEST(LiveRequest, KeepsNoPromptLogprobsUnlessAskedFor) {
  LiveRequest live = MakeLive(6);
  live.sampling.clear_num_prompt_logprobs();
  KeepPromptLogprobs(MakeChunk(1, 3), &live);
  EXPECT_TRUE(live.prompt_logprobs.empty());
}

TEST(LiveRequest, TellsHowASequenceEnded) {
  LiveRequest live = MakeLive(1);
  SequenceNews news{.id = 1, .token = 9, .ending = Ending{FinishCause::kStop, 9}};
  v1::SubmitResponse response = MakeResponse(news, nullptr, &live);
  EXPECT_EQ(response.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(response.stop_token_id(), 9u);
  EXPECT_EQ(response.tokens(0).token_id(), 9u);
  news.ending = Ending{FinishCause::kLength};
  EXPECT_FALSE(MakeResponse(news, nullptr, &live).has_stop_token_id());
  news.ending = Ending{FinishCause::kFailed};
  EXPECT_EQ(MakeResponse(news, nullptr, &live).finish_reason(), v1::FINISH_REASON_ERROR);
}

}  // namespace
}  // namespace baton::scheduler
