#include "services/model_loader/calls/load_call.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "common/concurrency/steady_mutex.h"
#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

constexpr absl::Duration kEventInterval = absl::Milliseconds(100);
constexpr absl::Duration kLogInterval = absl::Seconds(5);

// Where the whole stage stands, which asks in several calls, when this one has sent so much.
struct StageShare {
  double held = 0;
  double total = 0;
};

StageShare ShareOf(const CheckedLoad& load, const ReadPlan& plan, uint64_t sent) {
  const auto held = static_cast<double>(load.held_bytes);
  return {held + static_cast<double>(sent), std::max(static_cast<double>(load.stage_bytes),
                                                     held + static_cast<double>(plan.slice_bytes))};
}

// The rate is that of this call.
std::string DescribeProgress(const StageShare& share, uint64_t sent, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  const double rate = static_cast<double>(sent) / seconds;
  std::string text = absl::StrFormat("%.2f of %.2f GB (%.0f %%), %.2f GB/s", share.held / 1e9,
                                     share.total / 1e9, 100 * share.held / share.total, rate / 1e9);
  if (sent > 0 && share.held < share.total) {
    absl::StrAppendFormat(&text, ", %.0f s left", (share.total - share.held) / rate);
  }
  return text;
}

}  // namespace

absl::Status LoadCall::Run(const v1::LoadRequest& request) {
  RETURN_IF_ERROR(resources_.loads->Enter());
  resources_.metrics->LoadStarted();
  start_ = SteadyNow();
  absl::Status status = Serve(request);
  resources_.loads->Leave();
  resources_.metrics->LoadEnded(status, SteadyNow() - start_);
  const RangeReaderCounters counters = resources_.reader->counters();
  resources_.metrics->SetReadFaults(counters.failed_attempts, counters.stuck_threads);
  return Annotate(status, absl::StrCat("load of stage ", request.stage_index()));
}

absl::Status LoadCall::Serve(const v1::LoadRequest& request) {
  ASSIGN_OR_RETURN(const CheckedLoad load, CheckLoadRequest(*resources_.model, request));
  ReadPlanOptions options;
  options.job_bytes = resources_.options.job_bytes;
  options.chunk_bytes = load.chunk_bytes;
  const ReadPlan plan = BuildReadPlan(load.slices, options);
  RETURN_IF_ERROR(CheckFiles(plan));
  v1::LoadEvent planned;
  planned.mutable_planned()->set_slice_bytes(plan.slice_bytes);
  planned.mutable_planned()->set_read_bytes(plan.read_bytes);
  planned.mutable_planned()->set_num_chunks(plan.num_chunks);
  if (!Send(std::move(planned))) return absl::CancelledError("the worker hung up");
  RETURN_IF_ERROR(Connect(load));
  RETURN_IF_ERROR(Transfer(load, plan));
  const absl::Duration elapsed = SteadyNow() - start_;
  const StageShare share = ShareOf(load, plan, plan.slice_bytes);
  BATON_LOG(INFO) << "stage " << load.stage_index
                  << (share.held < share.total ? " has " : " loaded: ")
                  << DescribeProgress(share, plan.slice_bytes, elapsed)
                  << "; bytes read / needed in this call "
                  << absl::StrFormat("%.4f", static_cast<double>(plan.read_bytes) /
                                                 static_cast<double>(plan.needed_bytes))
                  << "; over " << way_;
  v1::LoadEvent done;
  done.mutable_done()->set_read_bytes(progress_.read_bytes.load());
  done.mutable_done()->set_needed_bytes(plan.needed_bytes);
  done.mutable_done()->set_elapsed_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(elapsed)));
  if (!Send(std::move(done))) return absl::CancelledError("the worker hung up");
  return absl::OkStatus();
}

absl::Status LoadCall::CheckFiles(const ReadPlan& plan) const {
  std::set<size_t> files;
  for (const ReadJob& job : plan.jobs) {
    if (!files.insert(job.file).second) continue;
    const absl::Status status = resources_.reader->source().CheckUnchanged(job.file);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat("tensor \"", job.first_tensor->name, "\" at offset ",
                                           job.ranges.front().file_offset));
    }
  }
  return absl::OkStatus();
}

absl::Status LoadCall::Connect(const CheckedLoad& load) {
  const absl::Time deadline = SteadyNow() + resources_.options.connect_deadline;
  for (size_t i = 0; i < load.targets.size(); ++i) {
    const CheckedTarget& target = load.targets[i];
    absl::StatusOr<std::unique_ptr<ChunkSender>> sender =
        ChunkSender::Create(resources_.transport, target.ucx_address, target.transfer_id, deadline,
                            {.lends = resources_.options.lend_memory});
    if (!sender.ok()) {
      // A worker that does not answer is unreachable to us, whatever the deadline was.
      const absl::StatusCode code = absl::IsDeadlineExceeded(sender.status())
                                        ? absl::StatusCode::kUnavailable
                                        : sender.status().code();
      return absl::Status(code,
                          absl::StrCat("target ", i, " over UCX: ", sender.status().message()));
    }
    senders_.push_back(*std::move(sender));
  }
  BATON_LOG(INFO) << "stage " << load.stage_index << ": " << load.targets.size()
                  << " target(s) over " << senders_.front()->DescribeTransport();
  return absl::OkStatus();
}

absl::Status LoadCall::Transfer(const CheckedLoad& load, const ReadPlan& plan) {
  SliceTransferOptions options;
  options.num_threads = resources_.options.num_threads;
  options.chunk_bytes = load.chunk_bytes;
  // One read under way and one on its way out, per thread.
  options.max_held_bytes =
      2 * static_cast<uint64_t>(options.num_threads) * resources_.options.job_bytes;
  options.send_deadline = resources_.options.send_deadline;
  std::vector<ChunkSender*> senders;
  for (const auto& sender : senders_) senders.push_back(sender.get());
  SliceTransfer transfer(options, &plan, resources_.reader, std::move(senders), &progress_);
  SteadyNotification done;
  absl::Status status;
  std::thread runner([&] {
    status = transfer.Run();
    done.Notify();
  });
  resources_.loads->Attach(&transfer);
  Watch(load, plan, transfer, done);
  runner.join();
  resources_.loads->Detach(&transfer);
  way_ = senders_.front()->DescribeTransport();
  // No chunk's answer may touch progress_ any more.
  senders_.clear();
  ReportMetrics(load, plan);
  return status;
}

void LoadCall::Watch(const CheckedLoad& load, const ReadPlan& plan, SliceTransfer& transfer,
                     const SteadyNotification& done) {
  absl::Time next_log = SteadyNow() + kLogInterval;
  uint64_t last_sent = 0;
  while (!done.WaitForNotificationWithTimeout(kEventInterval)) {
    if (context_.IsCancelled()) {
      transfer.Cancel(absl::CancelledError("the worker cancelled, or its deadline passed"));
      done.WaitForNotification();
      return;
    }
    ReportMetrics(load, plan);
    const uint64_t sent = progress_.sent_bytes.load();
    if (sent != std::exchange(last_sent, sent)) {
      v1::LoadEvent advanced;
      advanced.mutable_advanced()->set_read_bytes(progress_.read_bytes.load());
      advanced.mutable_advanced()->set_sent_bytes(sent);
      if (!Send(std::move(advanced))) transfer.Cancel(absl::CancelledError("the worker hung up"));
    }
    if (SteadyNow() >= next_log) {
      next_log = SteadyNow() + kLogInterval;
      BATON_LOG(INFO) << "stage " << load.stage_index << " loads: "
                      << DescribeProgress(ShareOf(load, plan, sent), sent, SteadyNow() - start_);
    }
  }
}

void LoadCall::ReportMetrics(const CheckedLoad& load, const ReadPlan& plan) {
  const uint64_t read = progress_.read_bytes.load();
  const uint64_t sent = progress_.sent_bytes.load();
  const StageShare share = ShareOf(load, plan, sent);
  resources_.metrics->LoadAdvanced(
      load.stage_index, read - std::exchange(reported_read_bytes_, read),
      sent - std::exchange(reported_sent_bytes_, sent), share.held / share.total);
}

bool LoadCall::Send(v1::LoadEvent event) {
  event.set_sequence_number(next_sequence_number_++);
  return writer_.Write(event);
}

}  // namespace baton::loader
