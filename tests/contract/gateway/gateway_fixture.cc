#include "tests/contract/gateway/gateway_fixture.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

#include "common/log/check.h"
#include "common/model/model_config.h"

namespace baton::gateway {
namespace {

const std::string kModelDir = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";

}  // namespace

void GatewayFixture::StartGateway(const std::function<void(GatewayConfig&)>& adjust,
                                  FakeSchedulerOptions fake_options) {
  auto tokenizer = Tokenizer::CreateFromFile(kModelDir + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  tokenizer_ = std::move(*tokenizer);
  const auto config_text = ReadModelConfigText(kModelDir);
  ASSERT_TRUE(config_text.ok()) << config_text.status();
  if (fake_options.model_fingerprint == "fake") {
    fake_options.model_fingerprint = ModelFingerprint(*config_text);
  }
  fake_options.vocab_size = 2048;
  scheduler_ = FakeScheduler::Start(fake_options);
  scheduler_options_ = fake_options;
  scheduler_options_.listen_address = scheduler_->address();

  GatewayConfig config;
  config.server.role = "gateway";
  config.server.listen_address = "127.0.0.1:0";
  config.server.drain_timeout = absl::Seconds(4);
  config.http.host = "127.0.0.1";
  config.http.port = 0;
  config.model.model_dir = kModelDir;
  config.model.names = {"tiny-r1", "second-name"};
  config.scheduler_address = scheduler_->address();
  if (adjust) adjust(config);
  api_key_ = config.api_keys.keys.empty() ? "" : config.api_keys.keys.front();
  auto runtime = ServerRuntime::Create(config.server);
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  runtime_ = std::move(*runtime);
  auto server = GatewayServer::Create(config, runtime_.get());
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = std::move(*server);
  run_ = std::thread([this] { BATON_CHECK_OK(server_->Run()); });
}

void GatewayFixture::StopGateway() {
  if (runtime_ != nullptr) runtime_->RequestShutdown("end of the test");
  if (run_.joinable()) run_.join();
  server_.reset();
  runtime_.reset();
}

void GatewayFixture::RestartScheduler() {
  scheduler_.reset();
  scheduler_ = FakeScheduler::Start(scheduler_options_);
}

void GatewayFixture::AwaitReady(int status) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  TestHttpResponse response;
  while (absl::Now() < deadline) {
    response = Get("/health/ready");
    if (response.status == status) return;
  }
  FAIL() << "/health/ready is " << response.status << ": " << response.body;
}

double GatewayFixture::Metric(const std::string& name) {
  TestHttpClient client(http_port());
  client.SendRequest(
      "GET", "/metrics", "",
      api_key_.empty() ? "" : absl::StrCat("Authorization: Bearer ", api_key_, "\r\n"));
  const std::string body = client.Receive().body;
  double total = 0;
  for (absl::string_view line : absl::StrSplit(body, '\n')) {
    if (!absl::ConsumePrefix(&line, name)) continue;
    if (!absl::StartsWith(line, "{") && !absl::StartsWith(line, " ")) continue;  // a longer name
    double value = 0;
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    EXPECT_TRUE(absl::SimpleAtod(words.back(), &value)) << line;
    total += value;
  }
  return total;
}

void GatewayFixture::AwaitMetric(const std::string& name, double value) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (Metric(name) != value) {
    ASSERT_LT(absl::Now(), deadline) << name << " is " << Metric(name) << ", not " << value;
  }
}

TestHttpResponse GatewayFixture::PostText(const std::string& path, const std::string& body) {
  TestHttpClient client(http_port());
  client.SendRequest("POST", path, body);
  return client.Receive();
}

TestHttpResponse GatewayFixture::Post(const std::string& path, const nlohmann::json& body) {
  return PostText(path, body.dump());
}

TestHttpResponse GatewayFixture::Get(const std::string& path) {
  TestHttpClient client(http_port());
  client.SendRequest("GET", path);
  return client.Receive();
}

void GatewayFixture::Answer(const std::string& text, v1::FinishReason reason) {
  FakeAnswer answer;
  answer.token_ids = Tokens(text);
  answer.finish_reason = reason;
  scheduler_->PushAnswer(std::move(answer));
}

std::vector<uint32_t> GatewayFixture::Tokens(const std::string& text) const {
  return tokenizer_->Encode(text).value();
}

std::string GatewayFixture::Text(const std::vector<uint32_t>& ids) const {
  return tokenizer_->Decode(ids, /*skip_special_tokens=*/false);
}

nlohmann::json ErrorOf(const TestHttpResponse& response, int status) {
  EXPECT_EQ(response.status, status) << response.body;
  const auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || !body.contains("error")) {
    ADD_FAILURE() << "no error body: " << response.body;
    return nlohmann::json::object();
  }
  for (const char* key : {"message", "type", "param", "code"}) {
    EXPECT_TRUE(body["error"].contains(key)) << key;
  }
  return body["error"];
}

nlohmann::json ChatBody() {
  return {{"model", "tiny-r1"}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
}

}  // namespace baton::gateway
