#include "services/gateway/answers/collected_choice.h"

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

SequenceUpdate Ended(v1::FinishReason reason) {
  SequenceUpdate update;
  update.finish_reason = reason;
  return update;
}

SequenceUpdate CallPiece(bool begins, const std::string& name, const std::string& arguments) {
  SequenceUpdate update;
  update.tool_calls = {{.begins = begins, .name = name, .arguments = arguments}};
  return update;
}

TEST(ChoiceEnd, IsNoneUntilTheLastUpdate) {
  ChoiceEnd end;
  end.Add(SequenceUpdate{.content = "text"});
  EXPECT_EQ(end.end(), AnswerEnd::kNone);
  end.Add(Ended(v1::FINISH_REASON_STOP));
  EXPECT_EQ(end.end(), AnswerEnd::kStop);
  EXPECT_FALSE(end.has_calls());
}

TEST(ChoiceEnd, KeepsWhatStoppedTheChoice) {
  SequenceUpdate update = Ended(v1::FINISH_REASON_STOP);
  update.stop_string = "###";
  update.stop_token_id = 7;
  ChoiceEnd end;
  end.Add(update);
  EXPECT_EQ(end.stop_string(), "###");
  EXPECT_EQ(end.stop_token_id(), 7u);
}

TEST(ChoiceEnd, RemembersCallsOfEarlierUpdates) {
  ChoiceEnd end;
  end.Add(CallPiece(true, "time", ""));
  end.Add(SequenceUpdate{});
  end.Add(Ended(v1::FINISH_REASON_STOP));
  EXPECT_EQ(end.end(), AnswerEnd::kToolCalls);
}

TEST(ChoiceEnd, IsCutShortWhetherItCallsOrNot) {
  ChoiceEnd plain, calling;
  calling.Add(CallPiece(true, "time", "{"));
  for (ChoiceEnd* end : {&plain, &calling}) {
    end->Add(Ended(v1::FINISH_REASON_LENGTH));
    EXPECT_EQ(end->end(), AnswerEnd::kLength);
  }
}

TEST(CollectedChoice, AddsUpTextsAndCalls) {
  CollectedChoice choice;
  choice.Add({.content = "4", .reasoning = "Hm"});
  choice.Add({.content = "2", .reasoning = "."});
  choice.Add(CallPiece(true, "weather", "{\"city\":"));
  choice.Add(CallPiece(false, "", " \"K\"}"));
  choice.Add(CallPiece(true, "time", ""));
  EXPECT_EQ(choice.content, "42");
  EXPECT_EQ(choice.reasoning, "Hm.");
  ASSERT_EQ(choice.calls.size(), 2u);
  EXPECT_EQ(choice.calls[0].name, "weather");
  EXPECT_EQ(choice.calls[0].arguments, "{\"city\": \"K\"}");
  EXPECT_EQ(choice.calls[1].name, "time");
  EXPECT_EQ(choice.calls[1].arguments, "");
}

// What bounds whole answers counts them: nothing may come for free.
TEST(CollectedChoice, TellsWhatItTakes) {
  CollectedChoice choice;
  EXPECT_EQ(choice.Add(SequenceUpdate{}), 0u);
  EXPECT_EQ(choice.Add({.content = "four", .reasoning = "xy"}), 6u);
  const size_t bytes_of_a_call = choice.Add(CallPiece(true, "time", ""));
  EXPECT_GT(bytes_of_a_call, 100u) << "it has a name, an id and an object of its own";
  EXPECT_EQ(choice.Add(CallPiece(true, "time", "{}")), bytes_of_a_call + 2);
  EXPECT_EQ(choice.Add(CallPiece(false, "", "abc")), 3u);
}

}  // namespace
}  // namespace baton::gateway
