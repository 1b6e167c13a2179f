// Constraints of known sizes, and the compiling of them, which tests hold up and count.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "services/stage_worker/model/compiled_constraints.h"

namespace baton::stage {

// Counts what is compiled; "held" waits until it may go on.
class CompiledConstraintsTest : public testing::Test {
 protected:
  static constexpr size_t kCapacity = size_t{8} << 20;
  static constexpr size_t kLongText = 16'000;
  static constexpr absl::Duration kLimit = absl::Seconds(60);

  static std::shared_ptr<const structured::VocabularyTrie> Letters() {
    return std::make_shared<const structured::VocabularyTrie>(std::vector<std::string>{"a", "b"},
                                                              3);
  }

  static std::shared_ptr<const StructuredSettings> Choosing(const std::string& text) {
    auto settings = std::make_shared<StructuredSettings>();
    settings->constraint.kind = structured::ConstraintKind::kChoice;
    settings->constraint.choices = {text};
    settings->end_token_ids = {2};
    return settings;
  }

  // No two are the same; each takes some hundred KiB.
  static std::shared_ptr<const StructuredSettings> Long(int index) {
    return Choosing(absl::StrCat(index, std::string(kLongText, 'a')));
  }

  CompiledConstraintsTest() : constraints_(Options()) { constraints_.SetVocabulary(Letters()); }
  ~CompiledConstraintsTest() override {
    if (!go_.HasBeenNotified()) go_.Notify();
  }

  ConstraintOptions Options() {
    ConstraintOptions options;
    options.capacity_bytes = kCapacity;
    options.compile = [this](const structured::Constraint& constraint) {
      ++num_compiles_;
      clock_ms_ += compile_ms_;
      if (constraint.choices[0] == "last") last_.Notify();
      for (size_t i = 0; i < mark_settings_.size(); ++i) {
        if (constraint.choices[0] == MarkText(i)) marks_[i].Notify();
      }
      if (constraint.choices[0] == "held") {
        held_.Notify();
        go_.WaitForNotification();
      }
      return structured::CompileConstraint(constraint);
    };
    options.now = [this] {
      if (on_now_) on_now_();
      return std::chrono::steady_clock::time_point(std::chrono::milliseconds(clock_ms_));
    };
    return options;
  }

  static std::string MarkText(size_t index) { return absl::StrCat("mark ", index); }
  // Waits until the own thread is done with all that was announced; compiles one constraint more.
  void AwaitThread(size_t index) {
    mark_settings_[index] = Choosing(MarkText(index));
    constraints_.Prepare(mark_settings_[index]);
    ASSERT_TRUE(marks_[index].WaitForNotificationWithTimeout(kLimit));
  }

  std::atomic<int> num_compiles_ = 0;
  std::atomic<int64_t> compile_ms_ = 0;
  std::atomic<int64_t> clock_ms_ = 0;
  std::function<void()> on_now_;  // Get asks for the time at its begin, and at its end
  absl::Notification held_;
  absl::Notification go_;
  absl::Notification last_;
  std::array<absl::Notification, 3> marks_;
  std::array<std::shared_ptr<const StructuredSettings>, 3> mark_settings_;
  CompiledConstraints constraints_;
};

}  // namespace baton::stage
