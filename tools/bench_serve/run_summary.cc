#include "tools/bench_serve/run_summary.h"

#include <algorithm>
#include <cmath>

namespace baton::bench {
namespace {

double TimePerToken(const RequestRecord& record) {
  return record.num_output_tokens < 2
             ? 0
             : (record.latency - record.ttft) / static_cast<double>(record.num_output_tokens - 1);
}

bool MeetsAll(const RequestRecord& record, const std::map<std::string, double>& goodput) {
  return std::all_of(goodput.begin(), goodput.end(), [&record](const auto& limit) {
    const double seconds = limit.first == "ttft"   ? record.ttft
                           : limit.first == "tpot" ? TimePerToken(record)
                                                   : record.latency;
    return seconds * 1000 <= limit.second;
  });
}

// Second by second, from the first request that completed on.
void FindPeaks(const std::vector<RequestRecord>& records, RunSummary* summary) {
  double begin = 0;
  double end = 0;
  bool any = false;
  for (const RequestRecord& record : records) {
    if (!record.success) continue;
    begin = any ? std::min(begin, record.start) : record.start;
    end = std::max(end, record.start + record.latency);
    any = true;
  }
  if (!any) return;
  std::vector<double> tokens(static_cast<size_t>(std::ceil(end - begin)) + 2);
  std::vector<int64_t> requests(tokens.size());
  for (const RequestRecord& record : records) {
    if (!record.success) continue;
    const double start = record.start - begin;
    double time = start + record.ttft;
    ++tokens[static_cast<size_t>(time)];
    for (const double gap : record.itls) {
      time += gap;
      ++tokens[static_cast<size_t>(time)];
    }
    const auto last = static_cast<size_t>(start + record.latency);
    for (auto second = static_cast<size_t>(start); second <= last; ++second) ++requests[second];
  }
  summary->peak_output_throughput = *std::max_element(tokens.begin(), tokens.end());
  summary->peak_concurrent_requests = *std::max_element(requests.begin(), requests.end());
}

}  // namespace

RunSummary Summarize(const LoadResult& result, const std::map<std::string, double>& goodput) {
  RunSummary summary;
  summary.duration = result.duration;
  int64_t num_good = 0;
  for (const char* name :
       {"ttft", "tpot", "itl", "e2el", "client_queue_time", "e2el_including_client_queue"}) {
    summary.latencies[name];
  }
  for (const RequestRecord& record : result.records) {
    if (!record.success) {
      ++summary.num_failed;
      continue;
    }
    ++summary.num_completed;
    summary.num_input_tokens += record.num_prompt_tokens;
    summary.num_output_tokens += record.num_output_tokens;
    summary.latencies["ttft"].push_back(record.ttft);
    summary.latencies["e2el"].push_back(record.latency);
    summary.latencies["client_queue_time"].push_back(record.queue_time);
    summary.latencies["e2el_including_client_queue"].push_back(record.latency + record.queue_time);
    if (record.num_output_tokens > 1) summary.latencies["tpot"].push_back(TimePerToken(record));
    std::vector<double>& itls = summary.latencies["itl"];
    itls.insert(itls.end(), record.itls.begin(), record.itls.end());
    if (MeetsAll(record, goodput)) ++num_good;
  }
  FindPeaks(result.records, &summary);
  if (summary.duration <= 0) return summary;
  const auto rate = [&](int64_t count) { return static_cast<double>(count) / summary.duration; };
  summary.request_throughput = rate(summary.num_completed);
  summary.request_goodput = rate(num_good);
  summary.output_throughput = rate(summary.num_output_tokens);
  summary.total_throughput = rate(summary.num_input_tokens + summary.num_output_tokens);
  return summary;
}

}  // namespace baton::bench
