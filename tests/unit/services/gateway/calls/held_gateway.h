// What calls work with, where loop and text worker run when the test says so.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"
#include "tests/fakes/held_executor.h"

namespace baton::gateway {

class NoScheduler final : public SchedulerClient {
 public:
  std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest&, const SubmitOptions&,
                                       SubmitObserver&) override {
    return nullptr;
  }
  std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback, GroupLostCallback) override {
    return nullptr;
  }
};

// Remembers the status of the answer.
class RecordingExchange final : public HttpExchange {
 public:
  const HttpRequest& request() const override { return request_; }
  void Send(HttpResponse response) override { response_ = std::move(response); }
  void StartStream(int, absl::string_view, const HttpHeaders&) override {}
  void Write(absl::string_view) override {}
  void EndStream() override {}
  void BreakStream() override {}
  size_t unsent_bytes() const override { return 0; }
  size_t max_unsent_bytes() const override { return 1; }

  HttpRequest request_;
  HttpResponse response_{.status = 0};
};

// Without a model: for requests that are not computed, or by the test itself.
class HeldGateway : public testing::Test {
 protected:
  static constexpr size_t kBodyBytes = 20000;  // of a request for the text worker

  // `limits`: of everybody, for there are no keys.
  explicit HeldGateway(const KeyLimits& limits = {}) : api_keys_({.limits = limits}) {}

  HeldExecutor loop_;
  HeldExecutor worker_;
  ServedModel model_;
  ApiKeys api_keys_;
  RequestValidator validator_{SamplingDefaults(), {.max_model_len = 64, .vocab_size = 64}};
  RequestSlots slots_{4};
  RateLimits rate_limits_;
  LiveRequests live_requests_;
  EarlyGate gate_{absl::Hours(1)};
  NoScheduler scheduler_;
  GroupWatch group_{scheduler_, loop_, {}};
  GatewayMetrics metrics_{std::make_shared<prometheus::Registry>(), "test", 64};
  TextQueue text_queue_{worker_, {.num_bytes = 2 * kBodyBytes}};
  GatewayContext context_{.model = model_,
                          .api_keys = api_keys_,
                          .validator = validator_,
                          .slots = slots_,
                          .rate_limits = rate_limits_,
                          .live_requests = live_requests_,
                          .gate = gate_,
                          .scheduler = scheduler_,
                          .group = group_,
                          .metrics = metrics_,
                          .loop = loop_,
                          .text_queue = text_queue_,
                          .request_timeout = absl::Seconds(600),
                          .log_requests = false};
};

}  // namespace baton::gateway
