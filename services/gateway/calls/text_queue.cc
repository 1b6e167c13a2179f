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
// A job that has taken this part of the bound on waiting beside its bytes counts as no longer: then
// the machine stood still (constraints end far before), and the next will not.
constexpr int64_t kMostPart = 4;
// This part of the bytes is for callers with few of them.
constexpr size_t kKeptParts = 8;
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
  absl::Duration wait = caller.Backlog();
  for (const auto& [name, other] : busy_) {
    if (&other != &caller) wait += std::min(other.Backlog(), own);
  }
  return wait;
}

// As RequestSlots keeps places.
size_t TextQueue::KeptLocked(const std::string& name, const Caller& caller,
                             size_t num_bytes) const {
  if (name.empty() || caller.num_jobs == 0) return 0;
  const size_t kept = limits_.num_bytes / kKeptParts;
  // Parts if one more came.
  const size_t num_parts = busy_.size() + 1;
  return caller.num_bytes + num_bytes <= limits_.num_bytes / num_parts ? kept / num_parts : kept;
}

absl::Status TextQueue::CheckLocked(const std::string& name, const Caller& caller,
                                    size_t num_bytes) const {
  const bool first_and_short = caller.num_jobs == 0 && num_bytes <= kShortBodyBytes;
  const bool fits =
      first_and_short ||
      num_bytes_ + num_bytes + KeptLocked(name, caller, num_bytes) <= limits_.num_bytes;
  const absl::Duration too_long = WaitLocked(caller, num_bytes) - limits_.wait;
  if (fits && too_long <= absl::ZeroDuration()) return absl::OkStatus();
  return WithRetryAfter(
      WithReason(absl::UnavailableError("long and constrained requests that came before would "
                                        "keep this one waiting for too long"),
                 kServerIsOverloaded),
      SpreadRetry(std::max(too_long, kLeastRetry)));
}

const TextQueue::Caller* TextQueue::FindLocked(const std::string& name) const {
  for (const Callers* callers : {&busy_, &idle_}) {
    const auto found = callers->find(name);
    if (found != callers->end()) return &found->second;
  }
  return nullptr;
}

TextQueue::Caller& TextQueue::BusyLocked(const std::string& name) {
  if (const auto found = busy_.find(name); found != busy_.end()) return found->second;
  const auto idle = idle_.find(name);
  Caller& caller =
      idle == idle_.end() ? busy_[name] : busy_.insert(idle_.extract(idle)).position->second;
  caller.had = std::max(caller.had, had_);
  return caller;
}

absl::StatusOr<uint64_t> TextQueue::Post(const std::string& caller, size_t num_bytes,
                                         std::function<void()> work) {
  const Caller newcomer;
  absl::MutexLock lock(&mutex_);
  const Caller* const known = FindLocked(caller);
  const absl::Status taken = CheckLocked(caller, known ? *known : newcomer, num_bytes);
  if (!taken.ok()) return taken;
  Caller& own = BusyLocked(caller);
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
  const auto caller = busy_.find(found->second);
  std::deque<Job>& waiting = caller->second.waiting;
  const auto job = std::find_if(waiting.begin(), waiting.end(),
                                [id](const Job& other) { return other.id == id; });
  removed = std::move(*job);
  waiting.erase(job);
  waiting_.erase(found);
  TakeOffLocked(caller, removed.num_bytes);
  return true;
}

void TextQueue::TakeOffLocked(Callers::iterator caller, size_t num_bytes) {
  --caller->second.num_jobs;
  caller->second.num_bytes -= num_bytes;
  num_bytes_ -= num_bytes;
  if (caller->second.num_jobs > 0) return;
  if (idle_.size() >= kMostCallers) idle_.clear();
  idle_.insert(busy_.extract(caller));
}

void TextQueue::RunNext() {
  Job job;
  Callers::iterator caller;  // it stays busy while its job is worked on
  {
    absl::MutexLock lock(&mutex_);
    caller = busy_.end();
    for (auto other = busy_.begin(); other != busy_.end(); ++other) {
      if (other->second.waiting.empty()) continue;
      if (caller == busy_.end() || other->second.had < caller->second.had) caller = other;
    }
    if (caller == busy_.end()) return;  // removed meanwhile
    job = std::move(caller->second.waiting.front());
    caller->second.waiting.pop_front();
    waiting_.erase(job.id);
    had_ = caller->second.had;
  }
  const absl::Time begin = now_();
  job.work();
  job.work = nullptr;
  const absl::Duration expected = kPerByte * static_cast<int64_t>(job.num_bytes);
  const absl::Duration took = std::min(now_() - begin, expected + limits_.wait / kMostPart);
  absl::MutexLock lock(&mutex_);
  caller->second.had += took;
  const absl::Duration beside = std::max(took - expected, absl::ZeroDuration());
  caller->second.per_job += (beside - caller->second.per_job) * kLatestPart;
  TakeOffLocked(caller, job.num_bytes);
}

size_t TextQueue::num_bytes() const {
  absl::MutexLock lock(&mutex_);
  return num_bytes_;
}

}  // namespace baton::gateway
