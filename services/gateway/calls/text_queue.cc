#include "services/gateway/calls/text_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Of parsing, template and tokens.
constexpr absl::Duration kPerByte = absl::Nanoseconds(500);
// So much of what is known of a caller's jobs is its latest one.
constexpr double kLatestPart = 0.25;
constexpr absl::Duration kLeastRetry = absl::Seconds(1);

}  // namespace

absl::Status CheckEncodeDeadline(absl::Time deadline) {
  if (SteadyNow() < deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed before the prompt was encoded");
}

absl::Duration TextQueue::Caller::Backlog() const {
  return kPerByte * static_cast<int64_t>(num_bytes) + per_job * static_cast<int64_t>(num_jobs);
}

absl::Duration TextQueue::WaitLocked(const Caller& caller, size_t num_bytes) const {
  const absl::Duration own =
      caller.Backlog() + kPerByte * static_cast<int64_t>(num_bytes) + caller.per_job;
  absl::Duration wait = own;
  for (const auto& [name, other] : callers_) {
    if (&other != &caller) wait += std::min(other.Backlog(), own);
  }
  return wait;
}

TextQueue::Caller& TextQueue::CallerLocked(const std::string& name) {
  if (callers_.size() >= kMostCallers && !callers_.contains(name)) {
    std::erase_if(callers_, [](const auto& entry) { return entry.second.num_jobs == 0; });
  }
  return callers_[name];
}

absl::StatusOr<uint64_t> TextQueue::Post(const std::string& caller, size_t num_bytes,
                                         std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  Caller& own = CallerLocked(caller);
  const absl::Duration too_long = WaitLocked(own, num_bytes) - limits_.wait;
  if (num_bytes_ + num_bytes > limits_.num_bytes || too_long > absl::ZeroDuration()) {
    return WithRetryAfter(
        WithReason(absl::UnavailableError("long and constrained requests that came before would "
                                          "keep this one waiting for too long"),
                   kServerIsOverloaded),
        SpreadRetry(std::max(too_long, kLeastRetry)));
  }
  if (own.num_jobs == 0) own.had = std::max(own.had, had_);
  ++own.num_jobs;
  own.num_bytes += num_bytes;
  num_bytes_ += num_bytes;
  const uint64_t id = next_id_++;
  own.waiting.push_back({.id = id, .num_bytes = num_bytes, .work = std::move(work)});
  waiting_.emplace(id, caller);
  worker_.Post([this] { RunNext(); });
  return id;
}

bool TextQueue::Remove(uint64_t id) {
  Job removed;  // dropped without the lock: it may hold anything
  absl::MutexLock lock(&mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  Caller& caller = callers_.at(found->second);
  const auto job = std::find_if(caller.waiting.begin(), caller.waiting.end(),
                                [id](const Job& other) { return other.id == id; });
  removed = std::move(*job);
  caller.waiting.erase(job);
  waiting_.erase(found);
  TakeOffLocked(&caller, removed.num_bytes);
  return true;
}

void TextQueue::TakeOffLocked(Caller* caller, size_t num_bytes) {
  --caller->num_jobs;
  caller->num_bytes -= num_bytes;
  num_bytes_ -= num_bytes;
}

void TextQueue::RunNext() {
  Job job;
  Caller* caller = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [name, other] : callers_) {
      if (other.waiting.empty()) continue;
      if (caller == nullptr || other.had < caller->had) caller = &other;
    }
    if (caller == nullptr) return;  // removed meanwhile
    job = std::move(caller->waiting.front());
    caller->waiting.pop_front();
    waiting_.erase(job.id);
    had_ = caller->had;
  }
  const absl::Time begin = now_();
  job.work();
  job.work = nullptr;
  const absl::Duration took = now_() - begin;
  absl::MutexLock lock(&mutex_);
  caller->had += took;
  const absl::Duration beside =
      std::max(took - kPerByte * static_cast<int64_t>(job.num_bytes), absl::ZeroDuration());
  caller->per_job += (beside - caller->per_job) * kLatestPart;
  TakeOffLocked(caller, job.num_bytes);  // the last use: it may be forgotten now
}

size_t TextQueue::num_bytes() const {
  absl::MutexLock lock(&mutex_);
  return num_bytes_;
}

}  // namespace baton::gateway
