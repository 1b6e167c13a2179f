#include "tools/bench_serve/load_run.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "boost/asio/steady_timer.hpp"

#include "tools/bench_serve/answer_timer.h"
#include "tools/bench_serve/sse_reader.h"

namespace baton::bench {
namespace {

using Clock = std::chrono::steady_clock;

class LoadRun {
 public:
  LoadRun(boost::asio::io_context& context, const HttpTarget& target,
          const std::vector<LoadRequest>& requests, const LoadOptions& options)
      : context_(context),
        target_(target),
        requests_(requests),
        options_(options),
        begin_(Clock::now()),
        timer_(context),
        records_(requests.size()) {}

  LoadResult Run() {
    SendDue();
    context_.restart();
    context_.run();
    return {.records = std::move(records_), .duration = Seconds()};
  }

 private:
  struct Answer {
    explicit Answer(RequestRecord* record) : timer(record) {}
    SseReader events;
    AnswerTimer timer;
  };

  double Seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  bool HasPlace() const {
    return options_.max_concurrency == 0 || num_running_ < options_.max_concurrency;
  }

  // Sends what is due and has a place; then sleeps until the next is due, if that is what counts.
  void SendDue() {
    while (next_ < requests_.size() && HasPlace() && options_.arrivals[next_] <= Seconds()) {
      Send(next_++);
    }
    if (next_ == requests_.size() || !HasPlace()) return;
    timer_.expires_at(begin_ + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(options_.arrivals[next_])));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) SendDue();
    });
  }

  void Send(size_t index) {
    ++num_running_;
    RequestRecord& record = records_[index];
    record.num_prompt_tokens = requests_[index].num_prompt_tokens;
    record.start = Seconds();
    record.queue_time = record.start - options_.arrivals[index];
    auto answer = std::make_shared<Answer>(&record);
    HttpStream::Start(context_, target_, requests_[index].http,
                      {.on_piece =
                           [this, answer](absl::string_view piece) {
                             const double now = Seconds();
                             answer->events.Feed(piece, [&](absl::string_view data) {
                               answer->timer.OnEvent(now, data);
                             });
                           },
                       .on_end =
                           [this, answer, &record](int, const std::string& error) {
                             if (!error.empty()) answer->timer.OnFailure(error);
                             answer->timer.OnEnd();
                             OnEnd(record);
                           }});
  }

  void OnEnd(const RequestRecord& record) {
    --num_running_;
    ++num_ended_;
    if (!record.success) ++num_failed_;
    if (options_.on_progress) options_.on_progress(num_ended_, num_failed_);
    SendDue();
  }

  boost::asio::io_context& context_;
  const HttpTarget& target_;
  const std::vector<LoadRequest>& requests_;
  const LoadOptions& options_;
  const Clock::time_point begin_;
  boost::asio::steady_timer timer_;
  std::vector<RequestRecord> records_;
  size_t next_ = 0;
  int64_t num_running_ = 0;
  int64_t num_ended_ = 0;
  int64_t num_failed_ = 0;
};

}  // namespace

LoadResult RunLoad(boost::asio::io_context& context, const HttpTarget& target,
                   const std::vector<LoadRequest>& requests, const LoadOptions& options) {
  return LoadRun(context, target, requests, options).Run();
}

}  // namespace baton::bench
