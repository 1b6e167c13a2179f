// Flags of vLLM that the gateway serves: what they change in answers.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/log/check.h"
#include "services/gateway/gateway_config.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Flags = std::vector<std::pair<std::string, std::string>>;  // dashed name and value

// Flags are the program's: each test finds them as they were.
class VllmFlagsContract : public GatewayFixture {
 protected:
  // What the gateway makes of a command line with these flags.
  static absl::StatusOr<GatewayConfig> Read(const Flags& flags) {
    for (const auto& [name, value] : flags) {
      absl::CommandLineFlag* const flag =
          absl::FindCommandLineFlag(absl::StrReplaceAll(name, {{"-", "_"}}));
      BATON_CHECK(flag != nullptr) << name;
      std::string error;
      if (!flag->ParseFrom(value, &error)) return absl::InvalidArgumentError(name + error);
    }
    return ReadGatewayConfig();
  }

  // Starts the gateway of this command line.
  void Start(Flags flags) {
    StartGateway([&flags](GatewayConfig& config) {
      const Flags place = {{"model", config.model.model_dir},
                           {"served-model-name", absl::StrJoin(config.model.names, ",")},
                           {"scheduler", config.scheduler_address},
                           {"host", config.http.host},
                           {"port", absl::StrCat(config.http.port)},
                           {"grpc-listen-address", config.server.listen_address},
                           {"metrics-address", config.server.metrics_address},
                           {"drain-timeout", absl::FormatDuration(config.server.drain_timeout)}};
      flags.insert(flags.end(), place.begin(), place.end());
      const auto read = Read(flags);
      BATON_CHECK_OK(read.status());
      config = *read;
    });
    AwaitReady(200);
  }

 private:
  absl::FlagSaver saver_;
};

TEST_F(VllmFlagsContract, BadValuesAreRefused) {
  for (const auto& [name, value] : Flags{{"max-logprobs", "-1"},
                                         {"max-logprobs", "21"},
                                         {"max-logprobs", "many"},
                                         {"generation-config", "/models/other"},
                                         {"generation-config", ""},
                                         {"enable-force-include-usage", "perhaps"}}) {
    const absl::FlagSaver saver;
    const absl::Status refusal = Read({{"model", "m"}, {name, value}}).status();
    EXPECT_EQ(refusal.code(), absl::StatusCode::kInvalidArgument) << name << " " << value;
    EXPECT_THAT(std::string(refusal.message()), HasSubstr(name)) << value;
  }
}

TEST_F(VllmFlagsContract, MaxLogprobsIsTheMostThatTheDocumentSays) {
  Start({{"max-logprobs", "5"}});
  const json schemas = json::parse(Get("/openapi.json").body)["components"]["schemas"];
  for (const auto& [schema, field] : Flags{{"ChatRequest", "top_logprobs"},
                                           {"ChatRequest", "prompt_logprobs"},
                                           {"CompletionRequest", "logprobs"}}) {
    const json& found = schemas[schema]["properties"][field];
    EXPECT_EQ(found["maximum"], 5) << schema << " " << field;
    EXPECT_THAT(found["description"].get<std::string>(), HasSubstr("0 to 5")) << field;
  }
}

TEST_F(VllmFlagsContract, MaxLogprobsIsTheMostThatMayBeAskedFor) {
  Start({{"max-logprobs", "2"}});
  json body = ChatBody();
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 200);
  body["top_logprobs"] = 3;
  const json error = ErrorOf(Post("/v1/chat/completions", body), 400);
  EXPECT_EQ(error["param"], "top_logprobs");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("2"));
}

TEST_F(VllmFlagsContract, EveryLimitOfARequestHasAFlag) {
  const auto defaults = Read({{"model", "m"}});
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  for (const RequestCap& cap : RequestCapRows()) {
    const absl::FlagSaver saver;
    EXPECT_EQ(defaults->caps.*cap.member, RequestCaps().*cap.member) << cap.flag;
    for (const int64_t value : {cap.least, cap.most}) {
      const auto read = Read({{"model", "m"}, {cap.flag, absl::StrCat(value)}});
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->caps.*cap.member, value) << cap.flag;
    }
    for (const int64_t value : {cap.least - 1, cap.most + 1}) {
      const absl::Status refusal = Read({{"model", "m"}, {cap.flag, absl::StrCat(value)}}).status();
      EXPECT_THAT(std::string(refusal.message()), HasSubstr(cap.flag)) << value;
    }
  }
}

TEST_F(VllmFlagsContract, LimitsOfConnectionsHaveFlags) {
  const auto read = Read({{"model", "m"},
                          {"max-request-line-bytes", "100"},
                          {"max-header-bytes", "1000"},
                          {"max-header-fields", "7"},
                          {"header-timeout", "1s"},
                          {"body-timeout", "2s"},
                          {"min-body-rate", "3"},
                          {"idle-timeout", "4s"},
                          {"write-timeout", "5s"},
                          {"max-body-mib", "5"},
                          {"max-total-body-mib", "8"},
                          {"max-answer-mib", "6"}});
  ASSERT_TRUE(read.ok()) << read.status();
  const HttpLimits& limits = read->http.limits;
  EXPECT_EQ(limits.request_line_bytes, 100u);
  EXPECT_EQ(limits.header_bytes, 1000u);
  EXPECT_EQ(limits.header_fields, 7u);
  EXPECT_EQ(limits.header_timeout, absl::Seconds(1));
  EXPECT_EQ(limits.body_timeout, absl::Seconds(2));
  EXPECT_EQ(limits.body_bytes_per_second, 3u);
  EXPECT_EQ(limits.idle_timeout, absl::Seconds(4));
  EXPECT_EQ(limits.write_timeout, absl::Seconds(5));
  EXPECT_EQ(limits.body_bytes, 5u << 20);
  EXPECT_EQ(limits.total_body_bytes, 8u << 20);
  EXPECT_EQ(read->max_whole_answer_bytes, 6u << 20);
}

TEST_F(VllmFlagsContract, TheLargestBodyHasRoomAmongAll) {
  const auto total = [](const std::string& largest) {
    const absl::FlagSaver saver;
    const auto read = Read({{"model", "m"}, {"max-body-mib", largest}});
    return read.ok() ? read->http.limits.total_body_bytes >> 20 : 0;
  };
  EXPECT_EQ(total("7"), 256u);
  EXPECT_EQ(total("512"), 512u);
  EXPECT_TRUE(Read({{"model", "m"}, {"max-body-mib", "7"}, {"max-total-body-mib", "7"}}).ok());
  const absl::Status refusal = Read({{"model", "m"}, {"max-total-body-mib", "6"}}).status();
  EXPECT_THAT(std::string(refusal.message()),
              HasSubstr("--max-total-body-mib is 6; wanted --max-body-mib (7) or more"));
}

// What is infinite, or passes the end of a clock, would be over at once.
TEST_F(VllmFlagsContract, TimesAreFinite) {
  const std::vector<std::string> more_than_zero = {"header-timeout", "body-timeout", "idle-timeout",
                                                   "write-timeout", "request-timeout"};
  std::vector<std::string> all = {"recovery-timeout", "drain-timeout", "sse-keep-alive",
                                  "early-refusal-time"};
  for (const std::string& flag : all) {
    const absl::FlagSaver saver;
    EXPECT_TRUE(Read({{"model", "m"}, {flag, "0s"}}).ok()) << flag;
  }
  const auto refused = [](const std::string& flag, const std::string& value,
                          const std::string& text) {
    const absl::FlagSaver saver;
    const absl::Status refusal = Read({{"model", "m"}, {flag, value}}).status();
    EXPECT_EQ(std::string(refusal.message()), "--" + flag + " is " + text + " to 8760h (a year)");
  };
  for (const std::string& flag : more_than_zero) refused(flag, "0s", "0; wanted more than 0");
  for (const std::string& flag : all) refused(flag, "-1s", "-1s; wanted 0");
  const std::string least_of_all = "; wanted 0";
  const std::string least_of_more = "; wanted more than 0";
  for (const auto& [flags, least] :
       {std::pair(more_than_zero, least_of_more), std::pair(all, least_of_all)}) {
    for (const std::string& flag : flags) {
      refused(flag, "inf", "inf" + least);
      refused(flag, "8760h1s", "8760h1s" + least);
      refused(flag, "2562047788015h", "2562047788015h" + least);
      const absl::FlagSaver saver;
      EXPECT_TRUE(Read({{"model", "m"}, {flag, "8760h"}}).ok()) << flag;
    }
  }
}

TEST_F(VllmFlagsContract, AConnectionWithTheLongestTimesIsServed) {
  Flags flags;
  for (const char* flag : {"header-timeout", "body-timeout", "idle-timeout", "write-timeout",
                           "request-timeout", "recovery-timeout", "sse-keep-alive"}) {
    flags.emplace_back(flag, "8760h");
  }
  Start(flags);
  TestHttpClient client(http_port());
  for (int i = 0; i < 2; ++i) {
    client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump());
    EXPECT_EQ(client.Receive().status, 200);
  }
}

TEST_F(VllmFlagsContract, RaisedLimitsHoldInAnswersAndInTheDocument) {
  Start({{"max-n", "9"}, {"max-prompts", "65"}, {"max-sequences", "65"}});
  json body = {{"prompt", "x"}, {"max_tokens", 1}, {"temperature", 1}, {"n", 9}};
  EXPECT_EQ(json::parse(Post("/v1/completions", body).body)["choices"].size(), 9u);
  body["n"] = 10;
  EXPECT_THAT(ErrorOf(Post("/v1/completions", body), 400)["message"].get<std::string>(),
              HasSubstr("at most 9 (--max-n)"));
  body["n"] = 1;
  body["prompt"] = std::vector<std::string>(65, "x");
  EXPECT_EQ(json::parse(Post("/v1/completions", body).body)["choices"].size(), 65u);
  body["n"] = 2;
  EXPECT_THAT(ErrorOf(Post("/v1/completions", body), 400)["message"].get<std::string>(),
              HasSubstr("at most 65 (--max-sequences)"));
  const json schemas = json::parse(Get("/openapi.json").body)["components"]["schemas"];
  EXPECT_EQ(schemas["ChatRequest"]["properties"]["n"]["maximum"], 9);
  EXPECT_EQ(schemas["ChatBatchRequest"]["properties"]["messages"]["maxItems"], 65);
}

// Whoever is refused finds in API.md what would have to be raised.
TEST_F(VllmFlagsContract, TheDocumentHasTheFlagsOfAllLimits) {
  std::ifstream file(std::string(BATON_SOURCE_DIR) + "/services/gateway/API.md");
  const std::string document(std::istreambuf_iterator<char>(file), {});
  size_t num_limits = 0;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (!absl::StrContains(flag->Filename(), "gateway_config")) continue;
    const bool limits = absl::StartsWith(name, "max_") || absl::StartsWith(name, "min_") ||
                        absl::EndsWith(name, "_timeout");
    if (!limits) continue;
    ++num_limits;
    EXPECT_THAT(document, HasSubstr("`--" + absl::StrReplaceAll(name, {{"_", "-"}}) + "`"));
  }
  EXPECT_GT(num_limits, 30u);
}

// vLLM's variable: a user who sets only it must not get an open server.
class KeyVariable : public VllmFlagsContract {
 protected:
  static constexpr char kName[] = "VLLM_API_KEY";
  ~KeyVariable() override { unsetenv(kName); }
  static std::vector<std::string> Keys(const Flags& flags) {
    Flags all = {{"model", "m"}};
    all.insert(all.end(), flags.begin(), flags.end());
    const absl::FlagSaver saver;
    const auto read = Read(all);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? read->api_keys.keys : std::vector<std::string>();
  }
};

TEST_F(KeyVariable, IsTheKeyWhereNoFlagSaysAnother) {
  unsetenv(kName);
  EXPECT_THAT(Keys({}), IsEmpty());
  setenv(kName, "", 1);
  EXPECT_THAT(Keys({}), IsEmpty());
  setenv(kName, "of,variable", 1);
  EXPECT_THAT(Keys({}), ElementsAre("of,variable")) << "it is one";
  EXPECT_THAT(Keys({{"api-key-weight", "2"}}), ElementsAre("of,variable"));
  EXPECT_THAT(Keys({{"api-key", "of-flag"}}), ElementsAre("of-flag"));
  setenv(kName, std::string(257, 'k').c_str(), 1);
  EXPECT_THAT(std::string(Read({{"model", "m"}}).status().message()), HasSubstr(kName));
}

// A file says who may call, and nobody else: a key that stands in no file would have no line to
// delete.
TEST_F(KeyVariable, IsNoKeyBesideAFileOfKeys) {
  setenv(kName, "secret", 1);
  testing::internal::CaptureStderr();
  EXPECT_THAT(Keys({{"api-key-file", "keys"}}), IsEmpty());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("VLLM_API_KEY is no key"));
  EXPECT_THAT(Keys({{"api-key-file", "keys"}, {"api-key", "of-flag"}}), ElementsAre("of-flag"));
}

TEST_F(KeyVariable, GuardsTheServerWhichSaysWhereItsKeysStand) {
  setenv(kName, "secret", 1);
  testing::internal::CaptureStderr();
  Start({});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("API keys: 1 of VLLM_API_KEY\n"));
  ErrorOf(Get("/v1/models"), 401);
  TestHttpClient client(http_port());
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer secret\r\n");
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(VllmFlagsContract, ForcedUsageIsInEveryChunkOfAStream) {
  Start({{"enable-force-include-usage", "true"}});
  json chat = ChatBody();
  chat["stream"] = true;
  chat["stream_options"] = {{"include_usage", false}};
  for (const auto& [path, body] :
       {std::pair<const char*, json>{"/v1/chat/completions", chat},
        {"/v1/completions", {{"prompt", "x"}, {"max_tokens", 3}, {"stream", true}}}}) {
    const auto events = Post(path, body).Events();
    ASSERT_GE(events.size(), 3u) << path;
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      EXPECT_TRUE(json::parse(events[i])["usage"].is_object()) << path << events[i];
    }
    EXPECT_TRUE(json::parse(events[events.size() - 2])["choices"].empty()) << path;
  }
}

TEST_F(VllmFlagsContract, WithoutTheGenerationConfigDefaultsAreNeutral) {
  const auto sampling = [this] {
    EXPECT_EQ(Post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 3}}).status, 200);
    return scheduler().requests().at(0).sampling();
  };
  Start({{"generation-config", "auto"}});
  EXPECT_FLOAT_EQ(sampling().top_p(), 0.95f);
  StopGateway();
  Start({{"generation-config", "vllm"}});
  const v1::SamplingParams neutral = sampling();
  EXPECT_FLOAT_EQ(neutral.top_p(), 1);
  EXPECT_FLOAT_EQ(neutral.temperature(), 1);
}

}  // namespace
}  // namespace baton::gateway
