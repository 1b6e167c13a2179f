// An answer whose stream has an event for every so many tokens, not for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/gateway/answers/answer_writer.h"

namespace baton::gateway {

// Puts the updates of each choice together until they have `interval` tokens, or take about
// kMaxHeldBytes. The first and the last of a choice go on at once. Whole answers are as they were.
// Not thread-safe.
class IntervalWriter final : public AnswerWriter {
 public:
  // Of one choice. No more than this is held back after Delta has returned.
  static constexpr size_t kMaxHeldBytes = 16 << 10;

  // `interval` is at least 1.
  IntervalWriter(std::unique_ptr<AnswerWriter> writer, size_t num_choices, uint64_t interval)
      : writer_(std::move(writer)), interval_(interval), held_(num_choices) {}

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
             std::string* events) override;
  void Flush(std::string* events) override;
  void Finish(const RequestUsage& usage, std::string* events) override {
    writer_->Finish(usage, events);
  }
  void Collect(size_t choice, const SequenceUpdate& update) override {
    writer_->Collect(choice, update);
  }
  size_t collected_bytes() const override { return writer_->collected_bytes(); }
  std::string Body(const RequestUsage& usage) override { return writer_->Body(usage); }

 private:
  struct Held {
    SequenceUpdate update;  // what has not gone on
    RequestUsage usage;     // up to there
    size_t num_bytes = 0;   // that it takes, about
  };

  const std::unique_ptr<AnswerWriter> writer_;
  const uint64_t interval_;
  std::vector<Held> held_;  // of each choice
};

}  // namespace baton::gateway
