// A whole gateway in this process, in front of a fake scheduler.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "common/rpc/server_runtime.h"
#include "common/tokenizer/tokenizer.h"
#include "services/gateway/gateway_server.h"
#include "tests/fakes/fake_scheduler.h"
#include "tests/fakes/http_test_client.h"

namespace baton::gateway {

// The demo model's text side; the fake scheduler answers.
class GatewayFixture : public testing::Test {
 protected:
  ~GatewayFixture() override { StopGateway(); }

  // Starts both and waits until the gateway is ready. `adjust` may change the configuration.
  void StartGateway(const std::function<void(GatewayConfig&)>& adjust = nullptr,
                    FakeSchedulerOptions fake_options = {});
  void StopGateway();
  void StopScheduler() { scheduler_.reset(); }
  // A new one takes its place on its port; what the old one was told it does not know.
  void RestartScheduler();
  // Waits until GET /health/ready answers `status`.
  void AwaitReady(int status);

  // The sum of a metric's samples, as GET /metrics says to the first API key, if there are any.
  double Metric(const std::string& name);
  // Waits until it is `value`.
  void AwaitMetric(const std::string& name, double value);

  // One request on a connection of its own.
  TestHttpResponse Post(const std::string& path, const nlohmann::json& body);
  TestHttpResponse PostText(const std::string& path, const std::string& body);
  TestHttpResponse Get(const std::string& path);

  // The next Submit answers with the tokens of `text`.
  void Answer(const std::string& text, v1::FinishReason reason = v1::FINISH_REASON_STOP);
  std::vector<uint32_t> Tokens(const std::string& text) const;
  std::string Text(const std::vector<uint32_t>& ids) const;

  int http_port() const { return server_->http_port(); }
  int grpc_port() const { return runtime_->grpc_port(); }
  FakeScheduler& scheduler() { return *scheduler_; }
  ServerRuntime& runtime() { return *runtime_; }

 private:
  std::string api_key_;  // empty: none
  std::unique_ptr<Tokenizer> tokenizer_;
  FakeSchedulerOptions scheduler_options_;
  std::unique_ptr<FakeScheduler> scheduler_;
  std::unique_ptr<ServerRuntime> runtime_;
  std::unique_ptr<GatewayServer> server_;
  std::thread run_;
};

// The error object in a response of this status; checks its shape.
nlohmann::json ErrorOf(const TestHttpResponse& response, int status);

// A chat request for "Hi".
nlohmann::json ChatBody();

}  // namespace baton::gateway
