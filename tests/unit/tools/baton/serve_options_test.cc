#include "tools/baton/serve_options.h"

#include <cstdlib>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const char* Model() { return BATON_SOURCE_DIR "/tests/data/tiny-r1"; }

absl::StatusOr<ServeOptions> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), Model());
  return ParseServeOptions(words);
}

std::string Refusal(std::vector<std::string> words) {
  return std::string(Parse(std::move(words)).status().message());
}

std::string Line(Role role, const ServeOptions& options) {
  return absl::StrJoin(ArgumentsOf(role, 1, options, {"s:1", "l:2"}, {"p.json", {}}), " ");
}

TEST(ServeOptions, HasDefaults) {
  const auto options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model_dir, Model());
  EXPECT_EQ(options->port, 8000);
  EXPECT_EQ(options->num_stages, 1);
  EXPECT_EQ(options->num_ranks, 1);
  EXPECT_TRUE(options->warnings.empty());
}

TEST(ServeOptions, TakesTheGuidesCommand) {
  const auto options =
      Parse({"--port", "8080", "--trust-remote-code", "--served-model-name", "ds", "r1",
             "--max-model-len", "2k", "--gpu-memory-utilization=0.95", "--tensor-parallel-size",
             "8", "-pp", "2", "--enforce-eager", "--no-enable-chunked-prefill"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->port, 8080);
  EXPECT_EQ(options->num_stages, 2);
  EXPECT_EQ(options->num_ranks, 8);
  EXPECT_THAT(options->passed_on.at("served-model-name"), ElementsAre("ds", "r1"));
  EXPECT_THAT(options->passed_on.at("max-model-len"), ElementsAre("2000"));
  EXPECT_THAT(options->passed_on.at("gpu-memory-utilization"), ElementsAre("0.95"));
  EXPECT_THAT(options->passed_on.at("enforce-eager"), ElementsAre("true"));
  EXPECT_THAT(options->warnings,
              ::testing::UnorderedElementsAre(HasSubstr("--trust-remote-code is ignored"),
                                              HasSubstr("--enable-chunked-prefill is ignored")));
}

TEST(ServeOptions, TakesTheModelByFlag) {
  const auto options = ParseServeOptions({"--model", Model()});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model_dir, Model());
}

TEST(ServeOptions, ReadsItsEnvironment) {
  setenv("BATON_TENSOR_PARALLEL_SIZE", "4", 1);
  setenv("BATON_PORT", "tcp://10.0.0.1:8000", 1);
  EXPECT_EQ(Parse({})->num_ranks, 4);
  EXPECT_EQ(Parse({})->port, 8000);
  EXPECT_EQ(Parse({"-tp", "2"})->num_ranks, 2);
  unsetenv("BATON_TENSOR_PARALLEL_SIZE");
  unsetenv("BATON_PORT");
}

// Gateway and scheduler read the variable, too: they go by what the command line says instead.
TEST(ServeOptions, TheLengthOfTheEnvironmentIsReadAsThatOfTheCommandLine) {
  setenv("BATON_MAX_MODEL_LEN", "2k", 1);
  const auto options = Parse({});
  const auto both = Parse({"--max-model-len", "auto"});
  setenv("BATON_MAX_MODEL_LEN", "many", 1);
  const std::string refusal = Refusal({});
  unsetenv("BATON_MAX_MODEL_LEN");
  ASSERT_TRUE(options.ok()) << options.status();
  ASSERT_TRUE(both.ok()) << both.status();
  for (const Role role : {Role::kScheduler, Role::kGateway}) {
    EXPECT_THAT(Line(role, *options), HasSubstr("--max-model-len 2000"));
    EXPECT_THAT(Line(role, *both), HasSubstr("--max-model-len auto"));
  }
  EXPECT_THAT(refusal, HasSubstr("\"many\" is not a number of tokens"));
}

TEST(ServeOptions, SuggestsTheFlagThatWasMeant) {
  EXPECT_EQ(Refusal({"--max-modle-len", "5"}),
            "unknown flag --max-modle-len; did you mean --max-model-len?");
  EXPECT_THAT(Refusal({"--no-port"}), HasSubstr("unknown flag --no-port"));
  EXPECT_THAT(Refusal({"-port", "5"}), HasSubstr("unknown flag -port; did you mean --port?"));
  EXPECT_EQ(Refusal({"--quite-another-thing"}), "unknown flag --quite-another-thing");
}

TEST(ServeOptions, RefusesBadValues) {
  EXPECT_EQ(Refusal({"--port", "x"}), "--port: \"x\" is not a number from 0 to 65535");
  EXPECT_EQ(Refusal({"-tp", "0"}), "--tensor-parallel-size: \"0\" is not a number from 1 to 64");
  EXPECT_EQ(Refusal({"--port"}), "--port needs a value");
  EXPECT_EQ(Refusal({"--max-num-seqs", "--port"}), "--max-num-seqs needs a value");
  EXPECT_THAT(Refusal({"--drain-timeout", "soon"}), HasSubstr("is not a duration"));
  EXPECT_THAT(Refusal({"--max-model-len", "9g"}), HasSubstr("is not a number of tokens"));
  EXPECT_THAT(Refusal({"--max-model-len", "0"}), HasSubstr("is not a number of tokens"));
}

TEST(ServeOptions, RefusesWhatIsNoModel) {
  EXPECT_THAT(std::string(ParseServeOptions({}).status().message()), HasSubstr("which model?"));
  EXPECT_THAT(Refusal({"other"}), HasSubstr("one model at a time"));
  EXPECT_THAT(std::string(ParseServeOptions({"/nonexistent"}).status().message()),
              HasSubstr("\"/nonexistent\" is not a folder"));
  EXPECT_THAT(std::string(ParseServeOptions({BATON_SOURCE_DIR}).status().message()),
              HasSubstr("has no config.json"));
}

TEST(ArgumentsOf, GivesEachRoleItsOwnFlags) {
  const auto options = Parse({"--max-num-seqs", "4", "--api-key", "a", "b", "-tp", "8", "-pp", "2",
                              "--port", "81", "--verbose", "--no-log-requests", "--drain-timeout",
                              "5s", "--least-link-rate", "16MiB"});
  ASSERT_TRUE(options.ok()) << options.status();
  const std::string gateway = Line(Role::kGateway, *options);
  EXPECT_THAT(gateway, HasSubstr("--scheduler s:1 --host 127.0.0.1 --port 81"));
  EXPECT_THAT(gateway, HasSubstr("--log-level debug"));
  EXPECT_THAT(gateway, HasSubstr("--log-requests=false"));
  EXPECT_THAT(gateway, HasSubstr("--drain-timeout 5s"));
  EXPECT_THAT(gateway, Not(HasSubstr("max-num-seqs")));
  const std::string scheduler = Line(Role::kScheduler, *options);
  EXPECT_THAT(scheduler, HasSubstr("--max-num-seqs 4"));
  EXPECT_THAT(scheduler, HasSubstr("--pipeline-parallel-size 2"));
  EXPECT_THAT(scheduler, HasSubstr("--tensor-parallel-size 8"));
  EXPECT_THAT(scheduler, HasSubstr("--listen-address 127.0.0.1:0"));
  const std::string stage = Line(Role::kStageWorker, *options);
  EXPECT_THAT(stage, HasSubstr("--scheduler s:1 --model-loader l:2 --stage-index 1"));
  EXPECT_THAT(stage, HasSubstr("--tensor-parallel-size 8"));
  EXPECT_THAT(stage, HasSubstr("--least-link-rate 16MiB"));
  EXPECT_THAT(stage, Not(HasSubstr("--model ")));
  const std::string loader = Line(Role::kModelLoader, *options);
  EXPECT_THAT(loader, HasSubstr("--ports-file p.json"));
  EXPECT_THAT(loader, Not(HasSubstr("--scheduler")));
  EXPECT_THAT(loader, Not(HasSubstr("--least-link-rate")));
}

TEST(ArgumentsOf, SaysTheNumberOfStagesThoughNobodyGaveIt) {
  const auto options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(Line(Role::kScheduler, *options), HasSubstr("--pipeline-parallel-size 1"));
}

TEST(ArgumentsOf, KeepsThePortsOfAnEarlierLife) {
  const auto options = Parse({"--port", "0", "--grpc-port", "0"});
  ASSERT_TRUE(options.ok()) << options.status();
  const ProcessPlace place{"p.json", {{"grpc", 7}, {"metrics", 8}, {"http", 9}}};
  const auto line = [&](Role role) {
    return absl::StrJoin(ArgumentsOf(role, 0, *options, {"s:1", "l:2"}, place), " ");
  };
  EXPECT_THAT(line(Role::kGateway), HasSubstr("--metrics-address 127.0.0.1:8 "));
  EXPECT_THAT(line(Role::kGateway), HasSubstr("--port 9 --grpc-listen-address 127.0.0.1:7"));
  for (const Role role : {Role::kModelLoader, Role::kScheduler, Role::kStageWorker})
    EXPECT_THAT(line(role), HasSubstr("--listen-address 127.0.0.1:7"));
}

TEST(ServeOptions, TakesLimitsOfRestarts) {
  const auto options =
      Parse({"--max-restarts", "5000", "--restart-window", "10m", "--liveness-timeout", "4s"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->restart_limits.max_deaths, 5000);
  EXPECT_EQ(options->restart_limits.window, absl::Minutes(10));
  EXPECT_EQ(options->liveness_timeout, absl::Seconds(4));
  EXPECT_THAT(Refusal({"--liveness-timeout", "1ms"}), HasSubstr("at least 100ms"));
  EXPECT_THAT(Refusal({"--max-restarts", "-1"}), HasSubstr("--max-restarts"));
}

TEST(ServeOptions, TakesTheNicenessOfStageWorkers) {
  EXPECT_EQ(Parse({})->stage_worker_nice, 5);
  EXPECT_EQ(Parse({"--stage-worker-nice", "0"})->stage_worker_nice, 0);
  EXPECT_EQ(Refusal({"--stage-worker-nice", "20"}),
            "--stage-worker-nice: \"20\" is not a number from 0 to 19");
}

TEST(EnvironmentOf, CarriesTheKeysInsteadOfTheCommandLine) {
  const auto options = Parse({"--api-key", "secret1", "secret2"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(EnvironmentOf(Role::kGateway, *options),
              ElementsAre("BATON_API_KEY=secret1,secret2"));
  for (const Role role : {Role::kModelLoader, Role::kScheduler, Role::kStageWorker, Role::kGateway})
    EXPECT_THAT(Line(role, *options), Not(HasSubstr("secret")));
  EXPECT_THAT(EnvironmentOf(Role::kStageWorker, *options), ::testing::IsEmpty());
  EXPECT_THAT(EnvironmentOf(Role::kGateway, *Parse({})), ::testing::IsEmpty());
}

TEST(ServeOptions, RefusesKeysThatTheEnvironmentCannotCarry) {
  EXPECT_THAT(Refusal({"--api-key", "a,b"}), HasSubstr("no comma"));
  EXPECT_THAT(Refusal({"--api-key", "tcp://a"}), HasSubstr("tcp://"));
  EXPECT_THAT(Refusal({"--api-key", "a", ""}), HasSubstr("a key is empty"));
}

TEST(ArgumentsOf, LetsTheModelLoaderFollowLinks) {
  const auto options = Parse({"--follow-links"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(Line(Role::kModelLoader, *options), HasSubstr("--follow-links=true"));
  EXPECT_THAT(Line(Role::kStageWorker, *options), Not(HasSubstr("follow-links")));
}

TEST(ArgumentsOf, TurnsLendingOffAtTheModelLoader) {
  const auto options = Parse({"--no-lend-memory"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(Line(Role::kModelLoader, *options), HasSubstr("--lend-memory=false"));
  EXPECT_THAT(Line(Role::kStageWorker, *options), Not(HasSubstr("lend-memory")));
}

TEST(ArgumentsOf, JoinsProcessesByTcpUnlessToldOtherwise) {
  for (const Role role : {Role::kStageWorker, Role::kModelLoader}) {
    EXPECT_THAT(Line(role, *Parse({})), HasSubstr("--ucx-transports tcp"));
    EXPECT_THAT(Line(role, *Parse({"--ucx-transports", "sm"})), HasSubstr("--ucx-transports sm"));
    setenv("UCX_TLS", "all", 1);
    EXPECT_THAT(Line(role, *Parse({})), Not(HasSubstr("ucx-transports")));
    unsetenv("UCX_TLS");
  }
  EXPECT_THAT(Line(Role::kScheduler, *Parse({})), Not(HasSubstr("ucx-transports")));
}

TEST(ServeHelp, NamesOnlyFlagsThatMeanSomething) {
  EXPECT_THAT(ServeHelp(), HasSubstr("--pipeline-parallel-size"));
  EXPECT_THAT(ServeHelp(), Not(HasSubstr("--swap-space")));
}

}  // namespace
}  // namespace baton
