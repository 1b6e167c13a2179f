#include "common/config/command_line.h"

#include <cstdlib>
#include <iostream>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/config/token_count.h"
#include "common/log/log.h"

ABSL_FLAG(int, max_num_seqs, 256, "sequences in a batch");
ABSL_FLAG(bool, enable_prefix_caching, true, "reuse blocks of equal beginnings");
ABSL_FLAG(baton::TokenCount, max_model_len, {}, "tokens of a sequence");
ABSL_FLAG(std::string, listen_address, "127.0.0.1:0", "where to listen");
ABSL_FLAG(std::vector<std::string>, served_model_name, {}, "names of the model");

namespace baton {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::Not;

const ProgramDescription kProgram{"baton-test", "Tests the parser.", "baton-test --max-num-seqs 8"};

std::vector<std::string> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "baton-test");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return ParseCommandLine(kProgram, static_cast<int>(argv.size()), argv.data());
}

class CommandLine : public ::testing::Test {
 protected:
  ~CommandLine() override { SetMinLogLevel(LogLevel::kInfo); }
  absl::FlagSaver saver_;
};
using CommandLineDeathTest = CommandLine;

TEST_F(CommandLine, TakesEverySpelling) {
  Parse({"--max-num-seqs", "8"});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), 8);
  Parse({"--max-num-seqs=9"});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), 9);
  Parse({"--max_num_seqs=10"});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), 10);
  Parse({"--max-num-seqs", "-1"});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), -1);
}

TEST_F(CommandLine, ReturnsWhatIsNotAFlag) {
  EXPECT_THAT(Parse({"serve", "--max-num-seqs", "8", "model", "-", "--", "--port"}),
              ElementsAre("serve", "model", "-", "--port"));
}

TEST_F(CommandLine, SwitchesBooleans) {
  Parse({"--no-enable-prefix-caching"});
  EXPECT_FALSE(absl::GetFlag(FLAGS_enable_prefix_caching));
  Parse({"--enable-prefix-caching"});
  EXPECT_TRUE(absl::GetFlag(FLAGS_enable_prefix_caching));
  Parse({"--enable-prefix-caching=false"});
  EXPECT_FALSE(absl::GetFlag(FLAGS_enable_prefix_caching));
}

TEST_F(CommandLine, CollectsLists) {
  EXPECT_THAT(Parse({"--served-model-name", "a", "b", "--max-num-seqs", "2", "rest",
                     "--served-model-name=c"}),
              ElementsAre("rest"));
  EXPECT_THAT(absl::GetFlag(FLAGS_served_model_name), ElementsAre("a", "b", "c"));
}

TEST_F(CommandLine, PrefersTheCommandLineOverTheEnvironment) {
  setenv("BATON_MAX_NUM_SEQS", "31", 1);
  Parse({});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), 31);
  Parse({"--max-num-seqs", "32"});
  EXPECT_EQ(absl::GetFlag(FLAGS_max_num_seqs), 32);
  unsetenv("BATON_MAX_NUM_SEQS");
}

TEST_F(CommandLine, ReadsTheEnvironmentAsTheCommandLine) {
  for (const auto& [text, num_tokens] : {std::pair("auto", 0), std::pair("2k", 2000)}) {
    Parse({"--max-model-len", text});
    EXPECT_EQ(absl::GetFlag(FLAGS_max_model_len).value, num_tokens);
    absl::SetFlag(&FLAGS_max_model_len, {7});
    setenv("BATON_MAX_MODEL_LEN", text, 1);
    Parse({});
    EXPECT_EQ(absl::GetFlag(FLAGS_max_model_len).value, num_tokens);
  }
  unsetenv("BATON_MAX_MODEL_LEN");
}

TEST_F(CommandLine, IgnoresServiceAddressesOfKubernetes) {
  setenv("BATON_LISTEN_ADDRESS", "tcp://10.0.0.1:8000", 1);
  Parse({});
  EXPECT_EQ(absl::GetFlag(FLAGS_listen_address), "127.0.0.1:0");
  unsetenv("BATON_LISTEN_ADDRESS");
}

TEST_F(CommandLine, SetsTheLogLevel) {
  Parse({"--log-level", "error"});
  EXPECT_FALSE(LogEnabled(LogLevel::kWarning));
}

TEST_F(CommandLineDeathTest, RefusesAnUnknownFlagWithASuggestion) {
  EXPECT_EXIT(Parse({"--max-nun-seqs", "8"}), ExitedWithCode(2),
              "baton-test: unknown flag --max-nun-seqs; did you mean --max-num-seqs\\?");
  EXPECT_EXIT(Parse({"--entirely-different"}), ExitedWithCode(2), "unknown flag");
  EXPECT_EXIT(Parse({"-max-num-seqs", "8"}), ExitedWithCode(2), "unknown flag");
}

TEST_F(CommandLineDeathTest, RefusesBadValues) {
  EXPECT_EXIT(Parse({"--max-num-seqs", "many"}), ExitedWithCode(2), "--max-num-seqs: .*many");
  EXPECT_EXIT(Parse({"--max-num-seqs"}), ExitedWithCode(2), "--max-num-seqs needs a value");
  EXPECT_EXIT(Parse({"--max-num-seqs", "--listen-address"}), ExitedWithCode(2), "needs a value");
  EXPECT_EXIT(Parse({"--served-model-name"}), ExitedWithCode(2), "needs a value");
  EXPECT_EXIT(Parse({"--log-level", "loud"}), ExitedWithCode(2), "is not debug, info");
}

TEST_F(CommandLineDeathTest, RefusesBadEnvironment) {
  setenv("BATON_MAX_NUM_SEQS", "many", 1);
  EXPECT_EXIT(Parse({}), ExitedWithCode(2), "environment variable BATON_MAX_NUM_SEQS");
  unsetenv("BATON_MAX_NUM_SEQS");
}

// Standard output is not matched by death tests: the help text goes there, so it is captured.
TEST_F(CommandLineDeathTest, HelpShowsOnlyOwnFlags) {
  const auto help_to_stderr = [] {
    std::cout.rdbuf(std::cerr.rdbuf());
    Parse({"--help"});
  };
  EXPECT_EXIT(help_to_stderr(), ExitedWithCode(0),
              AllOf(ContainsRegex("Tests the parser[^@]*baton-test --max-num-seqs 8[^@]*"
                                  "--enable-prefix-caching [|] --no-enable-prefix-caching "
                                  "\\(default: on\\)[^@]*"
                                  "--max-num-seqs \\(default: 256\\)"),
                    // Those of Abseil's own parser, which is linked or not.
                    Not(HasSubstr("undefok")), Not(HasSubstr("flagfile"))));
}

}  // namespace
}  // namespace baton
