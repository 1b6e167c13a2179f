#include "services/gateway/answers/interval_writer.h"

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

// Writes "choice:content/reasoning:tokens" of each update.
class RecordingWriter final : public AnswerWriter {
 public:
  explicit RecordingWriter(std::vector<std::string>* deltas) : deltas_(*deltas) {}

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage&,
             std::string*) override {
    deltas_.push_back(absl::StrCat(choice, ":", update.content, "/", update.reasoning, ":",
                                   update.tokens.size()));
    last_ = update;
  }
  void Flush(std::string* events) override { events->append("flush"); }
  void Finish(const RequestUsage&, std::string* events) override { events->append("finish"); }
  void Collect(size_t, const SequenceUpdate&) override { ++num_collected_; }
  size_t collected_bytes() const override { return num_collected_; }
  std::string Body(const RequestUsage&) override { return "body"; }

  const SequenceUpdate& last() const { return last_; }

 private:
  std::vector<std::string>& deltas_;
  SequenceUpdate last_;
  size_t num_collected_ = 0;
};

class IntervalWriterTest : public testing::Test {
 protected:
  // Of two choices.
  std::unique_ptr<IntervalWriter> MakeWriter(uint64_t interval) {
    auto recording = std::make_unique<RecordingWriter>(&deltas_);
    recording_ = recording.get();
    return std::make_unique<IntervalWriter>(std::move(recording), 2, interval);
  }
  // One token.
  static SequenceUpdate Token(const std::string& content, bool first = false) {
    SequenceUpdate update;
    update.content = content;
    update.tokens.emplace_back();
    update.first = first;
    return update;
  }
  void Push(size_t choice, const SequenceUpdate& update) {
    writer_->Delta(choice, update, RequestUsage(), &events_);
  }

  std::vector<std::string> deltas_;
  RecordingWriter* recording_ = nullptr;
  std::unique_ptr<IntervalWriter> writer_ = MakeWriter(3);
  std::string events_;
};

TEST_F(IntervalWriterTest, PutsTokensTogetherButForTheFirstAndTheLast) {
  Push(0, Token("a", /*first=*/true));
  EXPECT_TRUE(recording_->last().first);
  for (const char* text : {"b", "c", "d", "e"}) Push(0, Token(text));
  SequenceUpdate last = Token("f");
  last.finish_reason = v1::FINISH_REASON_STOP;
  last.stop_string = "g";
  Push(0, last);
  EXPECT_THAT(deltas_, ElementsAre("0:a/:1", "0:bcd/:3", "0:ef/:2"));
  EXPECT_FALSE(recording_->last().first);
  EXPECT_EQ(recording_->last().finish_reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(recording_->last().stop_string, "g");
  writer_->Finish(RequestUsage(), &events_);
  EXPECT_EQ(events_, "finish");
}

TEST_F(IntervalWriterTest, ChoicesAreHeldEachByItself) {
  Push(0, Token("a", /*first=*/true));
  Push(1, Token("A", /*first=*/true));
  SequenceUpdate thought;
  thought.reasoning = "r";
  thought.tokens.resize(2);
  Push(0, thought);
  Push(1, Token("B"));
  Push(0, Token("b"));
  EXPECT_THAT(deltas_, ElementsAre("0:a/:1", "1:A/:1", "0:b/r:3"));
}

TEST_F(IntervalWriterTest, PiecesOfACallAreJoined) {
  Push(0, Token("", /*first=*/true));
  for (const auto& [index, begins, arguments] :
       {std::tuple{0u, true, "{"}, std::tuple{0u, false, "}"}, std::tuple{1u, true, "[]"}}) {
    SequenceUpdate update = Token("");
    update.tool_calls = {
        {.index = index, .begins = begins, .name = begins ? "f" : "", .arguments = arguments}};
    Push(0, update);
  }
  EXPECT_THAT(
      recording_->last().tool_calls,
      ElementsAre(ToolCallPiece{.index = 0, .begins = true, .name = "f", .arguments = "{}"},
                  ToolCallPiece{.index = 1, .begins = true, .name = "f", .arguments = "[]"}));
}

TEST_F(IntervalWriterTest, TextBehindACallStaysBehindIt) {
  Push(0, Token("", /*first=*/true));
  SequenceUpdate call = Token("");
  call.tool_calls = {{.index = 0, .arguments = "1}"}};
  for (const SequenceUpdate& update : {call, Token("Do"), Token("ne.")}) Push(0, update);
  EXPECT_EQ(recording_->last().content, "Done.");
  EXPECT_THAT(recording_->last().tool_calls,
              ElementsAre(ToolCallPiece{.index = 0, .arguments = "1}", .content_offset = 0}));
}

TEST_F(IntervalWriterTest, HoldsNoMoreThanItsBytes) {
  writer_ = MakeWriter(/*interval=*/1024);
  Push(0, Token("", /*first=*/true));
  SequenceUpdate update = Token("x");
  for (int i = 0; i < 20; ++i) update.tokens[0].mutable_logprobs()->add_top();
  size_t num_pushed = 0;
  while (deltas_.size() < 2 && num_pushed < 1000) {
    Push(0, update);
    ++num_pushed;
  }
  // 21 log-probabilities of some 50 bytes each.
  EXPECT_GT(num_pushed, 10u);
  EXPECT_LT(num_pushed, 20u);
  deltas_.clear();
  Push(0, Token("y"));
  EXPECT_THAT(deltas_, ElementsAre()) << "it counts from nothing again";
  Push(0, Token(std::string(IntervalWriter::kMaxHeldBytes, 'z')));
  EXPECT_EQ(deltas_.size(), 1u);
}

TEST_F(IntervalWriterTest, GivesWhatItHoldsBeforeAnErrorEvent) {
  for (const size_t choice : {0u, 1u}) Push(choice, Token("a", /*first=*/true));
  Push(1, Token("b"));
  Push(1, Token("c"));
  deltas_.clear();
  writer_->Flush(&events_);
  EXPECT_THAT(deltas_, ElementsAre("1:bc/:2"));
  EXPECT_EQ(events_, "flush") << "and so does the writer behind it";
  writer_->Flush(&events_);
  EXPECT_EQ(deltas_.size(), 1u) << "once";
}

TEST_F(IntervalWriterTest, WholeAnswersAreAsTheyWere) {
  writer_->Collect(0, Token("a"));
  EXPECT_EQ(writer_->collected_bytes(), 1u);
  EXPECT_EQ(writer_->Body(RequestUsage()), "body");
}

}  // namespace
}  // namespace baton::gateway
