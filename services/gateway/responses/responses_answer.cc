#include "services/gateway/responses/responses_answer.h"

#include "services/gateway/answers/random_id.h"
#include "services/gateway/http/sse.h"
#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

constexpr size_t kItemBytes = 512;  // what an item costs beside its text, about

}  // namespace

void ResponsesAnswer::AppendEvent(const char* type, Json members, std::string* events) {
  if (events == nullptr) return;
  Json event = {{"type", type}, {"sequence_number", next_event_++}};
  event.update(members);
  AppendNamedSseEvent(type, DumpJson(event), events);
}

Json ResponsesAnswer::Response(const char* status, const RequestUsage* usage) const {
  Json json = {{"id", options_.head.id},
               {"object", "response"},
               {"created_at", options_.head.created_unix_seconds},
               {"status", status},
               {"background", false},
               {"error", nullptr},
               {"incomplete_details", nullptr},
               {"model", options_.head.model},
               {"output", output_}};
  json.update(options_.echoed);
  json["usage"] = nullptr;
  if (usage == nullptr) return json;
  if (ended_by_length_) json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  json["usage"] = {{"input_tokens", usage->num_prompt_tokens},
                   {"input_tokens_details", {{"cached_tokens", usage->num_cached_tokens}}},
                   {"output_tokens", usage->num_generated_tokens},
                   {"output_tokens_details", {{"reasoning_tokens", usage->num_reasoning_tokens}}},
                   {"total_tokens", usage->num_tokens()}};
  return json;
}

void ResponsesAnswer::Begin(std::string* events) {
  AppendEvent("response.created", {{"response", Response("in_progress", nullptr)}}, events);
  AppendEvent("response.in_progress", {{"response", Response("in_progress", nullptr)}}, events);
}

Json ResponsesAnswer::PartJson() const {
  if (open_ == Item::kReasoning) return {{"type", "reasoning_text"}, {"text", text_}};
  return {{"type", "output_text"},
          {"text", text_},
          {"annotations", Json::array()},
          {"logprobs", Json::array()}};
}

Json ResponsesAnswer::OpenItemJson(bool complete) const {
  const char* status = complete ? FinalStatus() : "in_progress";
  const Json content = complete ? Json::array({PartJson()}) : Json::array();
  switch (open_) {
    case Item::kReasoning:
      return {{"id", item_id_},     {"type", "reasoning"},          {"summary", Json::array()},
              {"content", content}, {"encrypted_content", nullptr}, {"status", status}};
    case Item::kFunctionCall:
      return {{"id", item_id_},    {"type", "function_call"}, {"call_id", call_id_},
              {"name", function_}, {"arguments", text_},      {"status", status}};
    default:
      return {{"id", item_id_},
              {"type", "message"},
              {"role", "assistant"},
              {"content", content},
              {"status", status}};
  }
}

void ResponsesAnswer::OpenItem(Item kind, const std::string& function, std::string* events) {
  CloseItem(events);
  open_ = kind;
  collected_bytes_ += kItemBytes;
  if (kind == Item::kFunctionCall) {
    item_id_ = RandomId("fc_");
    call_id_ = RandomId("call_");
    function_ = function;
  } else {
    item_id_ = RandomId(kind == Item::kReasoning ? "rs_" : "msg_");
  }
  AppendEvent("response.output_item.added",
              {{"output_index", output_.size()}, {"item", OpenItemJson(/*complete=*/false)}},
              events);
  if (kind == Item::kFunctionCall) return;
  AppendEvent("response.content_part.added",
              {{"item_id", item_id_},
               {"output_index", output_.size()},
               {"content_index", 0},
               {"part", PartJson()}},
              events);
}

void ResponsesAnswer::AppendText(absl::string_view text, std::string* events) {
  text_.append(text.data(), text.size());
  collected_bytes_ += text.size();
  Json members = {{"item_id", item_id_},
                  {"output_index", output_.size()},
                  {"content_index", 0},
                  {"delta", std::string(text)}};
  switch (open_) {
    case Item::kReasoning:
      return AppendEvent("response.reasoning_text.delta", std::move(members), events);
    case Item::kFunctionCall:
      members.erase("content_index");
      return AppendEvent("response.function_call_arguments.delta", std::move(members), events);
    default:
      members["logprobs"] = Json::array();
      return AppendEvent("response.output_text.delta", std::move(members), events);
  }
}

void ResponsesAnswer::CloseItem(std::string* events) {
  if (open_ == Item::kNone) return;
  Json members = {{"item_id", item_id_}, {"output_index", output_.size()}};
  if (open_ == Item::kFunctionCall) {
    members["name"] = function_;
    members["arguments"] = text_;
    AppendEvent("response.function_call_arguments.done", std::move(members), events);
  } else {
    members["content_index"] = 0;
    Json part = members;
    part["part"] = PartJson();
    members["text"] = text_;
    const bool reasoning = open_ == Item::kReasoning;
    if (!reasoning) members["logprobs"] = Json::array();
    AppendEvent(reasoning ? "response.reasoning_text.done" : "response.output_text.done",
                std::move(members), events);
    AppendEvent("response.content_part.done", std::move(part), events);
  }
  Json item = OpenItemJson(/*complete=*/true);
  AppendEvent("response.output_item.done", {{"output_index", output_.size()}, {"item", item}},
              events);
  output_.push_back(std::move(item));
  open_ = Item::kNone;
  text_.clear();
}

void ResponsesAnswer::Take(const SequenceUpdate& update, std::string* events) {
  if (!update.reasoning.empty()) {
    if (open_ != Item::kReasoning) OpenItem(Item::kReasoning, "", events);
    AppendText(update.reasoning, events);
  }
  ForEachInOrder(
      update.content, update.tool_calls,
      [this, events](absl::string_view text) {
        if (open_ != Item::kMessage) OpenItem(Item::kMessage, "", events);
        AppendText(text, events);
      },
      [this, events](const ToolCallPiece& piece) {
        if (piece.begins) OpenItem(Item::kFunctionCall, piece.name, events);
        if (!piece.arguments.empty()) AppendText(piece.arguments, events);
      });
  if (update.finish_reason == v1::FINISH_REASON_UNSPECIFIED) return;
  ended_by_length_ = update.finish_reason == v1::FINISH_REASON_LENGTH;
  CloseItem(events);
}

void ResponsesAnswer::Delta(size_t, const SequenceUpdate& update, const RequestUsage&,
                            std::string* events) {
  if (update.first) Begin(events);
  Take(update, events);
}

void ResponsesAnswer::Finish(const RequestUsage& usage, std::string* events) {
  AppendEvent(ended_by_length_ ? "response.incomplete" : "response.completed",
              {{"response", Response(FinalStatus(), &usage)}}, events);
}

void ResponsesAnswer::Collect(size_t, const SequenceUpdate& update) { Take(update, nullptr); }

std::string ResponsesAnswer::Body(const RequestUsage& usage) {
  return DumpJson(Response(FinalStatus(), &usage));
}

}  // namespace baton::gateway
