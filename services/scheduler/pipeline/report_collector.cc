#include "services/scheduler/pipeline/report_collector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"

namespace baton::scheduler {

void ReportCollector::Reset() {
  std::fill(last_step_.begin(), last_step_.end(), 0);
  last_sent_ = 0;
  last_done_ = 0;
  open_.clear();
}

void ReportCollector::Sent(StepId step_id) {
  BATON_CHECK(step_id == last_sent_ + 1) << "step " << step_id << " follows " << last_sent_;
  last_sent_ = step_id;
  StepResult& result = open_.emplace_back().result;
  result.step_id = step_id;
  result.stage_seconds.assign(last_step_.size(), 0);
}

absl::StatusOr<std::optional<CollectedStep>> ReportCollector::Add(uint32_t stage_index,
                                                                  v1::StepReport report) {
  const StepId step_id = report.step_id();
  if (step_id != last_step_[stage_index] + 1 || step_id > last_sent_) {
    return absl::DataLossError(absl::StrCat("stage ", stage_index, " reports step ", step_id,
                                            " after ", last_step_[stage_index],
                                            "; sent so far: ", last_sent_));
  }
  const bool is_last = stage_index + 1 == last_step_.size();
  if (!is_last && (report.tokens_size() > 0 || report.drafts_size() > 0)) {
    return absl::DataLossError(
        absl::StrCat("stage ", stage_index, " reports tokens but is not the last"));
  }
  last_step_[stage_index] = step_id;
  CollectedStep& step = open_[step_id - last_done_ - 1];
  step.result.stage_seconds[stage_index] = report.compute_us() * 1e-6;
  for (v1::SampledToken& token : *report.mutable_tokens()) {
    step.result.tokens.push_back({token.sequence_id(), token.position(), token.token_id()});
    if (token.has_logprobs()) {
      step.logprobs[{token.sequence_id(), token.position()}] = std::move(*token.mutable_logprobs());
    }
  }
  for (const v1::DraftedTokens& drafts : report.drafts()) {
    step.result.drafts.push_back(
        {drafts.sequence_id(), {drafts.token_ids().begin(), drafts.token_ids().end()}});
  }
  for (v1::PromptLogprobs& logprobs : *report.mutable_prompt_logprobs()) {
    step.prompt_logprobs.push_back(std::move(logprobs));
  }
  for (const v1::SequenceFault& fault : report.faults()) {
    // A stage that is right is not named.
    const bool is_right = fault.caused_by_request() || fault.overloaded();
    const std::string where = is_right ? "" : absl::StrCat("stage ", stage_index, ": ");
    step.result.faults.push_back({.id = fault.sequence_id(),
                                  .message = absl::StrCat(where, fault.message()),
                                  .caused_by_request = fault.caused_by_request(),
                                  .overloaded = fault.overloaded()});
  }
  if (*std::min_element(last_step_.begin(), last_step_.end()) < step_id) return std::nullopt;
  ++last_done_;
  std::optional<CollectedStep> done = std::move(open_.front());
  open_.pop_front();
  return done;
}

StepId ReportCollector::last_at_last_stage() const {
  if (last_step_.size() == 1) return last_sent_;
  return *std::min_element(last_step_.begin(), last_step_.end() - 1);
}

}  // namespace baton::scheduler
