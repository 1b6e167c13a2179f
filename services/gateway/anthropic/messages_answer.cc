#include "services/gateway/anthropic/messages_answer.h"

#include <utility>

#include "absl/strings/string_view.h"

#include "services/gateway/answers/random_id.h"
#include "services/gateway/http/sse.h"
#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

void AppendEvent(const Json& json, std::string* events) {
  AppendNamedSseEvent(json["type"].get<std::string>(), DumpJson(json), events);
}

Json UsageOf(const RequestUsage& usage) {
  return {{"input_tokens", usage.num_prompt_tokens - usage.num_cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.num_cached_tokens},
          {"output_tokens", usage.num_generated_tokens}};
}

Json ThinkingBlock(std::string text) {
  return {{"type", "thinking"}, {"thinking", std::move(text)}, {"signature", ""}};
}

Json TextBlock(std::string text) { return {{"type", "text"}, {"text", std::move(text)}}; }

Json ToolUseBlock(const std::string& name, Json input) {
  return {{"type", "tool_use"},
          {"id", RandomId("toolu_")},
          {"name", name},
          {"input", std::move(input)}};
}

// A model may write nothing, or what is no object; the client sees what it was.
Json InputOf(const ToolCallPiece& call) {
  if (call.arguments.empty()) return Json::object();
  auto input = ParseStrictJson(call.arguments);
  if (!input.ok() || !input->is_object()) return Json{{"arguments", call.arguments}};
  return std::move(*input);
}

}  // namespace

Json MessagesAnswer::EmptyMessage(const RequestUsage& usage) const {
  return {{"id", options_.head.id},       {"type", "message"},        {"role", "assistant"},
          {"model", options_.head.model}, {"content", Json::array()}, {"stop_reason", nullptr},
          {"stop_sequence", nullptr},     {"usage", UsageOf(usage)}};
}

Json MessagesAnswer::StopReason() const {
  const ChoiceEnd& end = collected_.end;
  if (end.end() == AnswerEnd::kNone) return nullptr;
  if (end.end() == AnswerEnd::kLength) return "max_tokens";
  if (!end.stop_string().empty()) return "stop_sequence";
  return end.end() == AnswerEnd::kToolCalls ? "tool_use" : "end_turn";
}

Json MessagesAnswer::StopSequence() const {
  const std::string& stop = collected_.end.stop_string();
  return stop.empty() ? Json(nullptr) : Json(stop);
}

// --- Streamed ---

void MessagesAnswer::Delta(size_t, const SequenceUpdate& update, const RequestUsage& usage,
                           std::string* events) {
  if (update.first) {
    AppendEvent({{"type", "message_start"}, {"message", EmptyMessage(usage)}}, events);
  }
  if (options_.include_reasoning && !update.reasoning.empty()) {
    OpenBlock(Block::kThinking, ThinkingBlock(""), events);
    AppendDelta({{"type", "thinking_delta"}, {"thinking", update.reasoning}}, events);
  }
  ForEachInOrder(
      update.content, update.tool_calls,
      [this, events](absl::string_view text) {
        OpenBlock(Block::kText, TextBlock(""), events);
        AppendDelta({{"type", "text_delta"}, {"text", std::string(text)}}, events);
      },
      [this, events](const ToolCallPiece& piece) { StreamToolCall(piece, events); });
  collected_.end.Add(update);
}

void MessagesAnswer::StreamToolCall(const ToolCallPiece& piece, std::string* events) {
  if (piece.begins) {
    CloseBlock(events);
    OpenBlock(Block::kToolUse, ToolUseBlock(piece.name, Json::object()), events);
  }
  if (piece.arguments.empty()) return;
  AppendDelta({{"type", "input_json_delta"}, {"partial_json", piece.arguments}}, events);
}

void MessagesAnswer::OpenBlock(Block block, Json content, std::string* events) {
  if (open_ == block) return;
  CloseBlock(events);
  open_ = block;
  AppendEvent({{"type", "content_block_start"},
               {"index", num_blocks_++},
               {"content_block", std::move(content)}},
              events);
}

void MessagesAnswer::CloseBlock(std::string* events) {
  if (std::exchange(open_, Block::kNone) == Block::kNone) return;
  AppendEvent({{"type", "content_block_stop"}, {"index", num_blocks_ - 1}}, events);
}

void MessagesAnswer::AppendDelta(Json delta, std::string* events) const {
  AppendEvent(
      {{"type", "content_block_delta"}, {"index", num_blocks_ - 1}, {"delta", std::move(delta)}},
      events);
}

void MessagesAnswer::Finish(const RequestUsage& usage, std::string* events) {
  CloseBlock(events);
  AppendEvent({{"type", "message_delta"},
               {"delta", {{"stop_reason", StopReason()}, {"stop_sequence", StopSequence()}}},
               {"usage", UsageOf(usage)}},
              events);
  AppendEvent({{"type", "message_stop"}}, events);
}

// --- Whole ---

void MessagesAnswer::Collect(size_t, const SequenceUpdate& update) {
  collected_bytes_ += collected_.Add(update);
}

std::string MessagesAnswer::Body(const RequestUsage& usage) {
  Json message = EmptyMessage(usage);
  Json& content = message["content"];
  if (options_.include_reasoning && !collected_.reasoning.empty()) {
    content.push_back(ThinkingBlock(std::move(collected_.reasoning)));
  }
  ForEachInOrder(
      collected_.content, collected_.calls,
      [&content](absl::string_view text) { content.push_back(TextBlock(std::string(text))); },
      [&content](const ToolCallPiece& call) {
        content.push_back(ToolUseBlock(call.name, InputOf(call)));
      });
  message["stop_reason"] = StopReason();
  message["stop_sequence"] = StopSequence();
  return DumpJson(message);
}

}  // namespace baton::gateway
