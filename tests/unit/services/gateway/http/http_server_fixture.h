// The HTTP server over real sockets on 127.0.0.1, with calls made for tests.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

#include "services/gateway/http/http_server.h"
#include "tests/fakes/http_test_client.h"

namespace baton::gateway {

// What the calls of a test have seen.
struct Record {
  std::atomic<Departure> departure{Departure::kClosed};  // before `disconnected`
  absl::Notification disconnected;
  absl::Notification writable;
  absl::Notification started;
};

// /echo answers with method and body, /fields with what headers said; /stream writes `stream_bytes`
// and stops when full; /hang never answers; /closed is refused; /bodiless reads no body.
class TestCall final : public HttpCall {
 public:
  TestCall(HttpExchange& exchange, Record& record, size_t stream_bytes)
      : exchange_(exchange), record_(record), stream_bytes_(stream_bytes) {}

  void Start() override {
    const HttpRequest& request = exchange_.request();
    if (request.path == "/hang") {
      record_.started.Notify();
      return;
    }
    if (request.path == "/stream" || request.path == "/broken") {
      exchange_.StartStream(200, "text/plain", {});
      return WriteMore();
    }
    if (request.path == "/fields") {
      return exchange_.Send(
          {.content_type = "text/plain",
           .body = absl::StrJoin({request.authorization, request.api_key, request.request_id,
                                  request.timeout, request.priority, request.origin,
                                  request.traceparent, request.tracestate, request.content_type},
                                 "|")});
    }
    exchange_.Send(
        {.content_type = "text/plain", .body = absl::StrCat(request.method, " ", request.body)});
  }
  void OnDisconnect(Departure how) override {
    record_.departure = how;
    record_.disconnected.Notify();
  }
  void OnWritable() override {
    if (!record_.writable.HasBeenNotified()) record_.writable.Notify();
    WriteMore();
  }
  void Abort(const absl::Status& reason) override {
    exchange_.Send({.status = 503, .body = std::string(reason.message())});
  }

 private:
  void WriteMore() {
    while (written_ < stream_bytes_) {
      exchange_.Write(std::string(1000, 'x'));
      written_ += 1000;
      if (exchange_.unsent_bytes() >= exchange_.max_unsent_bytes()) return;
    }
    if (exchange_.request().path == "/broken") return exchange_.BreakStream();
    exchange_.EndStream();
  }

  HttpExchange& exchange_;
  Record& record_;
  const size_t stream_bytes_;
  size_t written_ = 0;
};

class HttpServerTest : public testing::Test, public HttpRouter {
 protected:
  void Serve(HttpLimits limits = {}) {
    auto server =
        HttpServer::Create({.host = "127.0.0.1", .port = 0, .limits = limits}, loop_, *this);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  void TearDown() override { server_.reset(); }

  std::unique_ptr<HttpCall> Route(HttpExchange& exchange) override {
    return std::make_unique<TestCall>(exchange, record_, stream_bytes_);
  }
  HttpResponse Refuse(const HttpRequest&, int status, absl::string_view message) override {
    return {.status = status, .content_type = "text/plain", .body = std::string(message)};
  }

  std::optional<HttpResponse> Screen(const HttpRequest& header) override {
    if (header.path != "/closed") return std::nullopt;
    return HttpResponse{.status = 401, .content_type = "text/plain", .body = "no"};
  }

  bool ReadsBody(const HttpRequest& header) override { return header.path != "/bodiless"; }
  std::string CallerOf(const HttpRequest& header) override { return header.api_key; }

  bool wants_records() const override { return true; }
  void OnExchangeEnd(const HttpRequest& request, const ExchangeRecord& record) override {
    absl::MutexLock lock(&mutex_);
    exchanges_.push_back({request.path, record});
  }

  int StatusOf(const std::string& bytes) {
    TestHttpClient client(server_->port());
    client.Send(bytes);
    return client.Receive().status;
  }

  EventLoop loop_;
  Record record_;
  size_t stream_bytes_ = 3000;
  absl::Mutex mutex_;
  std::vector<std::pair<std::string, ExchangeRecord>> exchanges_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;
};

}  // namespace baton::gateway
