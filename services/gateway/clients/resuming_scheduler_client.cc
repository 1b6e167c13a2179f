#include "services/gateway/clients/resuming_scheduler_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Between two tries while the scheduler is there but takes nothing, as while it shuts down.
constexpr absl::Duration kFirstResumePause = absl::Milliseconds(20);
constexpr absl::Duration kLongestResumePause = absl::Seconds(1);
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// Schedulers lost in a row, without a token in between, while they had the sequence: it may be what
// brings them down.
constexpr int kMostLosses = 5;

// Whether the status says that the scheduler was lost, and nothing of the sequence. A scheduler
// that refuses for a while says when to try again; one that is shutting down does not.
bool IsLoss(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return !RetryAfter(status).has_value();
  return absl::IsCancelled(status) || absl::IsUnknown(status);
}

}  // namespace

class ResumingStream final : public SubmitStream, public SubmitObserver {
 public:
  ResumingStream(ResumingSchedulerClient& client, const v1::SubmitRequest& request,
                 const SubmitOptions& options, SubmitObserver& observer)
      : client_(client), observer_(observer), options_(options), request_(request) {
    client_.streams_.insert(this);
    if (client_.present_) {
      stream_ = client_.client_.Submit(request_, options_, *this);
    } else {
      Wait();
    }
  }
  ~ResumingStream() override { client_.streams_.erase(this); }

  void SetPaused(bool paused) override {
    paused_ = paused;
    if (stream_ != nullptr) stream_->SetPaused(paused);
  }

  void Finish() override {
    over_ = true;
    client_.streams_.erase(this);
    if (stream_ != nullptr) stream_->Finish();
  }

  void OnResponses(std::vector<v1::SubmitResponse>& responses) override {
    for (v1::SubmitResponse& response : responses) Mirror(&response);
    observer_.OnResponses(responses);  // may destroy this
  }

  void OnDone(const absl::Status& status) override {
    stream_.reset();
    // Where all come again at once, a queue that is full says nothing against one that was in it.
    const bool is_crowded =
        was_submitted_ && absl::IsResourceExhausted(status) && RetryAfter(status).has_value();
    if (!IsLoss(status) && !is_crowded) return End(status);
    was_lost_ = !is_crowded;
    was_submitted_ = true;
    Wait();
  }

  void OnPresent() {
    give_up_at_.reset();
    patience_left_ = client_.options_.patience;
    if (stream_ == nullptr) Resubmit();
  }

  void FailIfWaiting(const absl::Status& status) {
    if (stream_ == nullptr) End(status);
  }

  // The scheduler that had the sequence, if one had it, is gone.
  void OnAbsent() {
    if (stream_ == nullptr && !was_lost_) return;
    was_lost_ = false;
    ++num_losses_;
    if (stream_ == nullptr) return;
    stream_.reset();
    was_submitted_ = true;
    Wait();
  }

 private:
  // Keeps what another scheduler has to know, and takes out what this one says a second time.
  void Mirror(v1::SubmitResponse* response) {
    const bool resumed = request_.resumed_token_ids_size() > 0;
    if (resumed) response->clear_prompt_logprobs();
    if (resumed) response->clear_cached_prompt_tokens();
    if (resumed) response->clear_queue_us();
    if (response->tokens_size() == 0) return;
    for (const v1::GeneratedToken& token : response->tokens())
      request_.add_resumed_token_ids(token.token_id());
    // They came with the first token.
    request_.mutable_sampling()->clear_num_prompt_logprobs();
    num_losses_ = 0;
    was_submitted_ = false;  // this scheduler has taken it
    pause_ = kFirstResumePause;
    give_up_at_.reset();
    patience_left_ = client_.options_.patience;
  }

  // Waits for a scheduler: until SetPresent says so, or, while it is present, for a moment.
  void Wait() {
    const absl::Time now = SteadyNow();
    if (!give_up_at_.has_value()) {
      const absl::Time lost_at = std::min(now, client_.absent_since_);
      deadline_is_first_ = options_.deadline <= lost_at + patience_left_;
      give_up_at_ = std::min(options_.deadline, lost_at + patience_left_);
    }
    After(*give_up_at_ - now, [this] { GiveUp(); });
    if (!client_.present_) return;
    After(pause_, [this] {
      if (client_.present_) Resubmit();
    });
    pause_ = std::min(pause_ * 2, kLongestResumePause);
  }

  // Runs `work` then, unless this has got a stream or is over before.
  void After(absl::Duration delay, std::function<void()> work) {
    client_.executor_.PostAfter(
        std::max(delay, absl::ZeroDuration()),
        [this, waiting = std::weak_ptr<bool>(waiting_), work = std::move(work)] {
          if (waiting.lock() != nullptr && stream_ == nullptr && !over_) work();
        });
  }

  void Resubmit() {
    if (num_losses_ >= kMostLosses) {
      return End(absl::InternalError(
          absl::StrCat("the scheduler was lost ", num_losses_,
                       " times in a row while it had this sequence; it is not tried again")));
    }
    waiting_ = std::make_shared<bool>(true);  // what was to happen while it waited is void
    was_lost_ = false;
    if (give_up_at_.has_value()) {  // only the time without a stream counts
      patience_left_ = std::max(*give_up_at_ - SteadyNow(), absl::ZeroDuration());
      give_up_at_.reset();
    }
    if (client_.options_.on_resubmission) client_.options_.on_resubmission();
    stream_ = client_.client_.Submit(request_, options_, *this);
    if (paused_) stream_->SetPaused(true);
  }

  void GiveUp() {
    if (deadline_is_first_) {
      return End(absl::DeadlineExceededError("the deadline passed without a scheduler"));
    }
    End(WithRetryAfter(absl::UnavailableError("the scheduler has been away for too long"),
                       SpreadRetry(kRetryAfter)));
  }

  void End(const absl::Status& status) {
    over_ = true;
    client_.streams_.erase(this);
    observer_.OnDone(status);  // may destroy this
  }

  ResumingSchedulerClient& client_;
  SubmitObserver& observer_;
  const SubmitOptions options_;
  v1::SubmitRequest request_;             // as another scheduler would have to get it
  std::unique_ptr<SubmitStream> stream_;  // null while waiting
  bool paused_ = false;
  bool over_ = false;
  bool was_submitted_ = false;  // to a scheduler that was lost, and no token came since
  bool was_lost_ = false;       // its stream was, before the scheduler's absence was known
  int num_losses_ = 0;          // since the last token
  absl::Duration pause_ = kFirstResumePause;
  std::optional<absl::Time> give_up_at_;  // while it has no stream
  bool deadline_is_first_ = false;        // the call's ends before the patience
  absl::Duration patience_left_ = client_.options_.patience;
  std::shared_ptr<bool> waiting_ = std::make_shared<bool>(true);  // a new one for each wait
};

void ResumingSchedulerClient::ForEach(const std::function<void(ResumingStream&)>& work) {
  const std::vector<ResumingStream*> streams(streams_.begin(), streams_.end());
  for (ResumingStream* stream : streams) {
    if (streams_.contains(stream)) work(*stream);
  }
}

void ResumingSchedulerClient::SetPresent(bool present) {
  if (present_ == present) return;
  present_ = present;
  absent_since_ = present ? absl::InfiniteFuture() : SteadyNow();
  if (!streams_.empty()) {
    BATON_LOG(INFO) << streams_.size() << " sequences "
                    << (present ? "go on with the scheduler" : "wait for the scheduler");
  }
  ForEach([present](ResumingStream& stream) {
    if (present) {
      stream.OnPresent();
    } else {
      stream.OnAbsent();
    }
  });
}

void ResumingSchedulerClient::FailWaiting(const absl::Status& status) {
  ForEach([&status](ResumingStream& stream) { stream.FailIfWaiting(status); });
}

std::unique_ptr<SubmitStream> ResumingSchedulerClient::Submit(const v1::SubmitRequest& request,
                                                              const SubmitOptions& options,
                                                              SubmitObserver& observer) {
  return std::make_unique<ResumingStream>(*this, request, options, observer);
}

}  // namespace baton::gateway
