// What becomes of each flag of `vllm serve`, of old and new releases, in `baton serve`.
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tools/baton/serve_options.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Words = std::vector<std::string>;

absl::StatusOr<ServeOptions> ParseWords(Words words) {
  words.insert(words.begin(), BATON_SOURCE_DIR "/tests/data/tiny-r1");
  return ParseServeOptions(words);
}

class WorkingVllmFlag : public ::testing::TestWithParam<Words> {};

TEST_P(WorkingVllmFlag, IsTakenWithoutAWarning) {
  const auto options = ParseWords(GetParam());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->warnings, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Guide, WorkingVllmFlag,
    ::testing::Values(Words{"--tensor-parallel-size", "8"}, Words{"-tp", "8"},
                      Words{"--pipeline-parallel-size", "2"}, Words{"-pp", "2"},
                      Words{"--max-model-len", "2K"}, Words{"--max-model-len", "auto"},
                      Words{"--served-model-name", "a", "b"}, Words{"--enforce-eager"},
                      Words{"--gpu-memory-utilization", "0.92"}, Words{"--port", "8000"},
                      Words{"--host", "0.0.0.0"}, Words{"--dtype", "bfloat16"}));
INSTANTIATE_TEST_SUITE_P(
    Engine, WorkingVllmFlag,
    ::testing::Values(
        Words{"--disable-custom-all-reduce"}, Words{"--kv-cache-memory-bytes", "16GiB"},
        Words{"--enable-prefix-caching"}, Words{"--no-enable-prefix-caching"},
        Words{"--num-gpu-blocks-override", "100"}, Words{"--max-num-batched-tokens", "2048"},
        Words{"--max-num-seqs", "64"}, Words{"--long-prefill-token-threshold", "512"},
        Words{"--watermark", "0.01"}, Words{"--max-num-queued-reqs", "100"},
        Words{"--max-num-queued-tokens", "100000"},
        Words{"--speculative-config", R"({"method":"mtp","num_speculative_tokens":1})"}));
INSTANTIATE_TEST_SUITE_P(
    Server, WorkingVllmFlag,
    ::testing::Values(Words{"--reasoning-parser", "deepseek_r1"},
                      Words{"--enable-auto-tool-choice"},
                      Words{"--tool-call-parser", "deepseek_v3"}, Words{"--chat-template", "file"},
                      Words{"--api-key", "a", "b"}, Words{"--ssl-keyfile", "f"},
                      Words{"--ssl-certfile", "f"}, Words{"--ssl-ca-certs", "f"},
                      Words{"--ssl-cert-reqs", "2"}, Words{"--allowed-origins", R"(["*"])"},
                      Words{"--allowed-methods", R"(["*"])"},
                      Words{"--allowed-headers", R"(["*"])"}, Words{"--allow-credentials"},
                      Words{"--generation-config", "vllm"}, Words{"--max-logprobs", "5"},
                      Words{"--enable-force-include-usage"}));
// What happens here anyway; tiny-r1 is an fp8 checkpoint.
INSTANTIATE_TEST_SUITE_P(
    Fixed, WorkingVllmFlag,
    ::testing::Values(Words{"--logprobs-mode", "raw_logprobs"}, Words{"--kv-cache-dtype", "auto"},
                      Words{"--kv-cache-dtype=bfloat16"}, Words{"--quantization", "fp8"},
                      Words{"--quantization", "None"}, Words{"--hf-overrides", "{}"},
                      Words{"--hf-overrides", R"({"model_type": "deepseek_v3"})"},
                      Words{"--tokenizer", BATON_SOURCE_DIR "/tests/data/../data/tiny-r1"},
                      Words{"--task", "generate"}, Words{"--load-format", "runai_streamer"},
                      Words{"--tokenizer-mode", "auto"},
                      Words{"--chat-template-content-format", "string"}));

class IgnoredVllmFlag : public ::testing::TestWithParam<Words> {};

// The flag behind it is still read: it has neither taken too many words nor too few.
TEST_P(IgnoredVllmFlag, IsTakenWithAWarning) {
  Words words = GetParam();
  words.insert(words.end(), {"--max-num-seqs", "7"});
  const auto options = ParseWords(words);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->warnings, ElementsAre(HasSubstr(absl::StrCat(words[0], " is ignored: "))));
  EXPECT_EQ(options->passed_on.at("max-num-seqs"), Words{"7"});
}

std::vector<Words> Switches(const Words& names) {
  std::vector<Words> all;
  for (const std::string& name : names) all.push_back({"--" + name});
  return all;
}

std::vector<Words> WithValues(const Words& names) {
  std::vector<Words> all;
  for (const std::string& name : names) all.push_back({"--" + name, "1"});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Switches, IgnoredVllmFlag,
                         ::testing::ValuesIn(Switches({
                             "trust-remote-code",
                             "headless",
                             "enable-expert-parallel",
                             "enable-eplb",
                             "enable-dbo",
                             "numa-bind",
                             "async-scheduling",
                             "scheduler-reserve-full-isl",
                             "trust-request-chat-template",
                             "enable-ssl-refresh",
                             "grpc",
                             "disable-uvicorn-access-log",
                             "enable-request-id-headers",
                             "disable-log-stats",
                             "enable-log-requests",
                             "enable-log-outputs",
                             "kv-cache-metrics",
                             "cudagraph-metrics",
                             "enable-mfu-metrics",
                             "enable-prompt-tokens-details",
                             "enable-per-request-metrics",
                             "enable-server-load-tracking",
                             "data-parallel-hybrid-lb",
                             "data-parallel-external-lb",
                             "enable-chunked-prefill",
                         })));
INSTANTIATE_TEST_SUITE_P(Values, IgnoredVllmFlag,
                         ::testing::ValuesIn(WithValues({
                             "revision",
                             "download-dir",
                             "model-loader-extra-config",
                             "safetensors-load-strategy",
                             "safetensors-prefetch-num-threads",
                             "safetensors-prefetch-block-size",
                             "distributed-executor-backend",
                             "nnodes",
                             "node-rank",
                             "master-addr",
                             "master-port",
                             "distributed-timeout-seconds",
                             "data-parallel-size",
                             "data-parallel-size-local",
                             "data-parallel-rank",
                             "data-parallel-start-rank",
                             "data-parallel-address",
                             "data-parallel-rpc-port",
                             "data-parallel-backend",
                             "all2all-backend",
                             "decode-context-parallel-size",
                             "block-size",
                             "prefix-caching-hash-algo",
                             "kv-offloading-size",
                             "cpu-offload-gb",
                             "scheduling-policy",
                             "stream-interval",
                             "compilation-config",
                             "cudagraph-capture-sizes",
                             "max-cudagraph-capture-size",
                             "attention-backend",
                             "moe-backend",
                             "linear-backend",
                             "performance-mode",
                             "optimization-level",
                             "kv-transfer-config",
                             "kv-events-config",
                             "api-server-count",
                             "disable-access-log-for-endpoints",
                             "h11-max-incomplete-event-size",
                             "h11-max-header-count",
                             "shutdown-timeout",
                             "max-log-len",
                             "otlp-traces-endpoint",
                             "kv-cache-metrics-sample",
                             "show-hidden-metrics-for-version",
                         })));
INSTANTIATE_TEST_SUITE_P(Seeds, IgnoredVllmFlag,
                         ::testing::Values(Words{"--seed", "0"}, Words{"--seed", "42"}));
INSTANTIATE_TEST_SUITE_P(OfOldReleasesSwitches, IgnoredVllmFlag,
                         ::testing::ValuesIn(Switches({
                             "enable-reasoning",
                             "disable-log-requests",
                             "enable-prompt-adapter",
                             "disable-async-output-proc",
                             "disable-frontend-multiprocessing",
                         })));
INSTANTIATE_TEST_SUITE_P(OfOldReleasesValues, IgnoredVllmFlag,
                         ::testing::ValuesIn(WithValues({
                             "guided-decoding-backend",
                             "swap-space",
                             "num-scheduler-steps",
                             "preemption-mode",
                             "scheduler-delay-factor",
                             "max-seq-len-to-capture",
                             "speculative-model",
                             "num-speculative-tokens",
                         })));

TEST(VllmFlags, AnOptimizationLevelIsIgnoredInAllItsForms) {
  for (const Words& form : {Words{"-O2"}, Words{"-O", "2"}, Words{"-O=2"}, Words{"-O3"}}) {
    Words words = form;
    words.insert(words.end(), {"--max-num-seqs", "7"});
    const auto options = ParseWords(words);
    ASSERT_TRUE(options.ok()) << absl::StrJoin(form, " ") << ": " << options.status();
    EXPECT_THAT(options->warnings, ElementsAre(HasSubstr("--optimization-level is ignored: ")));
    EXPECT_EQ(options->passed_on.at("max-num-seqs"), Words{"7"});
  }
}

TEST(VllmFlags, AValueOtherThanWhatHappensHereIsRefused) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--logprobs-mode", "processed_logprobs"}, "served here: raw_logprobs; "},
      {{"--kv-cache-dtype", "fp8"}, "served here: auto, bfloat16; the KV cache has the type of"},
      {{"--kv-cache-dtype", "bfloat16", "--dtype", "float32"}, "served here: auto; "},
      {{"--quantization", "awq"}, "served here: fp8, none, None; "},
      {{"--hf-overrides", R"({"rms_norm_eps": 1})"}, "change config.json"},
      {{"--hf-overrides", R"({"no_such_key": 1})"}, "change config.json"},
      {{"--hf-overrides", "fn"}, "change config.json"},
      {{"--rope-scaling", R"({"factor": 9})"}, "change rope_scaling in config.json"},
      {{"--tokenizer", "deepseek-ai/DeepSeek-R1"}, "put its tokenizer.json into"},
      {{"--load-format", "dummy"}, "`baton mini-r1` writes random ones"},
      {{"--load-format", "gguf"}, "served here: auto, hf, safetensors, fastsafetensors, "},
      {{"--tokenizer-mode", "mistral"}, "served here: auto, hf, slow; "},
      {{"--task", "embed"}, "served here: auto, generate; "},
      {{"--chat-template-content-format", "openai"}, "served here: auto, string; "}};
  for (const auto& [words, reason] : cases) {
    const std::string refusal(ParseWords(words).status().message());
    EXPECT_THAT(refusal, HasSubstr(absl::StrCat(words[0], " is \"", words[1], "\"; "))) << refusal;
    EXPECT_THAT(refusal, HasSubstr(reason));
  }
}

TEST(VllmFlags, TheDtypeOfTheEnvironmentIsThatOfTheCache) {
  setenv("BATON_DTYPE", "float32", 1);
  EXPECT_THAT(std::string(ParseWords({"--kv-cache-dtype", "bfloat16"}).status().message()),
              HasSubstr("served here: auto; "));
  EXPECT_TRUE(ParseWords({"--kv-cache-dtype", "bfloat16", "--dtype", "bfloat16"}).ok());
  unsetenv("BATON_DTYPE");
}

TEST(VllmFlags, MaxLogprobsBeyondTheMostAreTheMost) {
  for (const char* value : {"-1", "21", "50"}) {
    const auto options = ParseWords({"--max-logprobs", value});
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->passed_on.at("max-logprobs"), Words{"20"}) << value;
    EXPECT_THAT(options->warnings,
                ElementsAre(absl::StrCat("--max-logprobs ", value, " is taken as 20, the most")));
  }
  for (const char* value : {"0", "20"}) {
    const auto options = ParseWords({"--max-logprobs", value});
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->passed_on.at("max-logprobs"), Words{value});
    EXPECT_THAT(options->warnings, IsEmpty());
  }
  for (const char* value : {"-2", "many", ""}) {
    EXPECT_EQ(ParseWords({absl::StrCat("--max-logprobs=", value)}).status().message(),
              absl::StrCat("--max-logprobs: \"", value, "\" is not -1, 0 or more"));
  }
}

TEST(VllmFlags, TheGenerationConfigIsTheModelsOwn) {
  const std::string model = BATON_SOURCE_DIR "/tests/data/tiny-r1";
  for (const auto& [value, passed_on] : std::vector<std::pair<std::string, std::string>>{
           {"auto", "auto"}, {"vllm", "vllm"}, {model, "auto"}, {model + "/", "auto"}}) {
    const auto options = ParseWords({"--generation-config", value});
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->passed_on.at("generation-config"), Words{passed_on}) << value;
    EXPECT_THAT(options->warnings, IsEmpty());
  }
  for (const char* other : {BATON_SOURCE_DIR "/tests/data", "/nonexistent", ""}) {
    EXPECT_EQ(ParseWords({absl::StrCat("--generation-config=", other)}).status().message(),
              absl::StrCat("--generation-config is \"", other,
                           "\"; served here: auto, vllm, the model's own folder; put its "
                           "generation_config.json there"));
  }
}

// The roles read the environment, and would end at a value that they do not serve.
TEST(VllmFlags, TheEnvironmentIsReadAsTheCommandLineIs) {
  setenv("BATON_MAX_LOGPROBS", "-1", 1);
  setenv("BATON_GENERATION_CONFIG", BATON_SOURCE_DIR "/tests/data/tiny-r1", 1);
  const auto options = ParseWords({});
  setenv("BATON_GENERATION_CONFIG", "/nonexistent", 1);
  const auto refused = ParseWords({});
  unsetenv("BATON_MAX_LOGPROBS");
  unsetenv("BATON_GENERATION_CONFIG");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->passed_on.at("max-logprobs"), Words{"20"});
  EXPECT_EQ(options->passed_on.at("generation-config"), Words{"auto"});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--generation-config is"));
}

TEST(VllmFlags, RopeScalingOfTheConfigMayBeRepeated) {
  std::ifstream file(BATON_SOURCE_DIR "/tests/data/tiny-r1/config.json");
  const std::string scaling = nlohmann::json::parse(file)["rope_scaling"].dump();
  const auto options = ParseWords({"--rope-scaling", scaling});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->warnings, IsEmpty());
}

TEST(VllmFlags, WhatIsNoOptimizationLevelIsNotTakenForOne) {
  for (const char* word : {"-Offline", "-O=", "-O2x", "-O-1", "-O=two", "-O"}) {
    EXPECT_THAT(std::string(ParseWords({word}).status().message()), HasSubstr("unknown flag -O"))
        << word;
  }
  EXPECT_THAT(std::string(ParseWords({"-O", "other"}).status().message()),
              HasSubstr("unknown flag -O"));
}

TEST(VllmFlags, TheSwitchesMayBeTurnedOff) {
  const auto options = ParseWords({"--no-scheduler-reserve-full-isl", "--no-async-scheduling"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->warnings.size(), 2u);
}

TEST(VllmFlags, TheTemplatesVariablesArePassedOn) {
  const std::string variables = R"({"thinking": true})";
  const auto options = ParseWords({"--default-chat-template-kwargs", variables});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->warnings.empty());
  EXPECT_EQ(options->passed_on.at("default-chat-template-kwargs"), Words{variables});
}

TEST(VllmFlags, WhatWouldChangeAnswersOrWhoMayAskIsRefusedWithAReason) {
  for (const char* name :
       {"config", "override-generation-config", "middleware", "root-path", "uds", "ssl-ciphers"}) {
    const std::string flag = absl::StrCat("--", name);
    for (const Words& words : {Words{flag, "x"}, Words{flag + "=x"}}) {
      const std::string refusal(ParseWords(words).status().message());
      EXPECT_THAT(refusal, HasSubstr(flag + " of vLLM is not served here: ")) << refusal;
      EXPECT_THAT(refusal, Not(HasSubstr("unknown")));
    }
    EXPECT_THAT(ServeHelp(), Not(HasSubstr(flag + "\n")));
  }
}

}  // namespace
}  // namespace baton
