#include "tools/top/scrape.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "boost/asio/io_context.hpp"

#include "tools/bench_serve/http_stream.h"

namespace baton::top {
namespace {

constexpr int64_t kTimeoutSeconds = 2;

}  // namespace

std::vector<Scrape> ScrapeAll(const std::vector<Target>& targets) {
  boost::asio::io_context context{1};
  boost::asio::ip::tcp::resolver resolver(context);
  std::vector<Scrape> scrapes(targets.size());
  std::vector<std::string> bodies(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    Scrape& scrape = scrapes[i];
    std::string& body = bodies[i];
    scrape.target = targets[i];
    boost::system::error_code error;
    const auto endpoints =
        resolver.resolve(targets[i].host, std::to_string(targets[i].port), error);
    if (error) {
      scrape.error = absl::StrCat("cannot find ", targets[i].host, ": ", error.message());
      continue;
    }
    bench::HttpStream::Start(
        context, {.endpoints = endpoints, .host = targets[i].host},
        {.method = "GET", .path = targets[i].path, .timeout_sec = kTimeoutSeconds},
        {.on_piece = [&body](absl::string_view piece) { absl::StrAppend(&body, piece); },
         .on_end =
             [&scrape](int, const std::string& failure) {
               scrape.error = failure;
               scrape.time = absl::Now();
             }});
  }
  context.run();
  for (size_t i = 0; i < targets.size(); ++i) {
    if (scrapes[i].error.empty()) scrapes[i].samples = MetricSamples::Parse(bodies[i]);
  }
  return scrapes;
}

}  // namespace baton::top
