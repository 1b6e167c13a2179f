#include "services/gateway/anthropic/messages_answer.h"

#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/http/sse.h"

namespace baton::gateway {
namespace {

constexpr size_t kCallBytes = 256;  // what a call costs beside its texts, about

std::string ToolUseId() {
  absl::BitGen random;
  return absl::StrCat("toolu_", absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16),
                      absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

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
  return {{"type", "tool_use"}, {"id", ToolUseId()}, {"name", name}, {"input", std::move(input)}};
}

}  // namespace

Json MessagesAnswer::EmptyMessage(const RequestUsage& usage) const {
  return {{"id", options_.head.id},       {"type", "message"},        {"role", "assistant"},
          {"model", options_.head.model}, {"content", Json::array()}, {"stop_reason", nullptr},
          {"stop_sequence", nullptr},     {"usage", UsageOf(usage)}};
}

void MessagesAnswer::NoteEnd(const SequenceUpdate& update) {
  if (update.finish_reason == v1::FINISH_REASON_UNSPECIFIED) return;
  if (update.finish_reason == v1::FINISH_REASON_LENGTH) {
    stop_reason_ = "max_tokens";
  } else if (!update.stop_string.empty()) {
    stop_reason_ = "stop_sequence";
    stop_sequence_ = update.stop_string;
  } else {
    stop_reason_ = has_calls_ ? "tool_use" : "end_turn";
  }
}

// --- Streamed ---

void MessagesAnswer::StreamUpdate(size_t, const SequenceUpdate& update, const RequestUsage& usage,
                                  std::string* events) {
  if (!std::exchange(begun_, true)) {
    AppendEvent({{"type", "message_start"}, {"message", EmptyMessage(usage)}}, events);
  }
  if (options_.include_reasoning && !update.reasoning.empty()) {
    OpenBlock(Block::kThinking, ThinkingBlock(""), events);
    AppendDelta({{"type", "thinking_delta"}, {"thinking", update.reasoning}}, events);
  }
  if (!update.content.empty()) {
    OpenBlock(Block::kText, TextBlock(""), events);
    AppendDelta({{"type", "text_delta"}, {"text", update.content}}, events);
  }
  for (const ToolCallPiece& piece : update.tool_calls) StreamToolCall(piece, events);
  NoteEnd(update);
}

void MessagesAnswer::StreamToolCall(const ToolCallPiece& piece, std::string* events) {
  has_calls_ = true;
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

void MessagesAnswer::StreamEnd(const RequestUsage& usage, std::string* events) {
  CloseBlock(events);
  AppendEvent({{"type", "message_delta"},
               {"delta", {{"stop_reason", stop_reason_}, {"stop_sequence", stop_sequence_}}},
               {"usage", UsageOf(usage)}},
              events);
  AppendEvent({{"type", "message_stop"}}, events);
}

// --- Whole ---

void MessagesAnswer::Collect(size_t, SequenceUpdate& update) {
  if (options_.include_reasoning) thinking_.append(update.reasoning);
  text_.append(update.content);
  collected_bytes_ += update.reasoning.size() + update.content.size();
  for (const ToolCallPiece& piece : update.tool_calls) {
    has_calls_ = true;
    if (piece.begins) calls_.push_back({piece.name, ""});
    calls_.back().arguments.append(piece.arguments);
    collected_bytes_ +=
        (piece.begins ? kCallBytes : 0) + piece.name.size() + piece.arguments.size();
  }
  NoteEnd(update);
}

std::string MessagesAnswer::WholeBody(const RequestUsage& usage) {
  Json message = EmptyMessage(usage);
  Json& content = message["content"];
  if (!thinking_.empty()) content.push_back(ThinkingBlock(std::move(thinking_)));
  if (!text_.empty()) content.push_back(TextBlock(std::move(text_)));
  for (const Call& call : calls_) {
    auto input = ParseStrictJson(call.arguments);
    // A model may write what is no object; the client sees what it was.
    if (!input.ok() || !input->is_object()) input = Json{{"arguments", call.arguments}};
    content.push_back(ToolUseBlock(call.name, std::move(*input)));
  }
  message["stop_reason"] = stop_reason_;
  message["stop_sequence"] = stop_sequence_;
  return DumpJson(message);
}

}  // namespace baton::gateway
