// Answers of /v1/responses: a response of output items, streamed as named events or whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// One choice; not thread-safe. Items follow each other as the model writes: reasoning, message,
// function calls. The last event holds the whole response, as official clients expect; so a
// streamed answer is collected too.
class ResponsesAnswer final : public AnswerWriter {
 public:
  struct Options {
    AnswerHead head;
    Json echoed;  // fields of the request that the response repeats
  };

  explicit ResponsesAnswer(Options options) : options_(std::move(options)) {}

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
             std::string* events) override;
  void Finish(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, const SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string Body(const RequestUsage& usage) override;

 private:
  enum class Item { kNone, kReasoning, kMessage, kFunctionCall };

  void Begin(std::string* events);
  // Ends the open item and begins another, unless that is open already.
  void OpenItem(Item kind, const std::string& function, std::string* events);
  void CloseItem(std::string* events);
  void AppendText(absl::string_view text, std::string* events);
  void Take(const SequenceUpdate& update, std::string* events);
  // The item that is open, as it is now; complete: as it ends, "incomplete" if the tokens did.
  Json OpenItemJson(bool complete) const;
  Json PartJson() const;
  // `events` null: the answer is not streamed.
  void AppendEvent(const char* type, Json members, std::string* events);
  Json Response(const char* status, const RequestUsage* usage) const;
  // Of the response, and of the item that ends now.
  const char* FinalStatus() const { return ended_by_length_ ? "incomplete" : "completed"; }

  const Options options_;
  uint64_t next_event_ = 0;
  Json output_ = Json::array();  // items that have ended
  Item open_ = Item::kNone;
  std::string item_id_;
  std::string call_id_;
  std::string function_;
  std::string text_;  // of the open item
  bool ended_by_length_ = false;
  size_t collected_bytes_ = 0;
};

}  // namespace baton::gateway
