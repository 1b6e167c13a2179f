#include "services/model_loader/loader_config.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace baton::loader {
namespace {

using Flags = std::vector<std::pair<std::string, std::string>>;

// What the config becomes with these flags on top of a model's folder; all are put back afterwards.
absl::StatusOr<LoaderConfig> Read(const Flags& flags) {
  const absl::FlagSaver saver;
  Flags all = {{"model", std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1"}};
  all.insert(all.end(), flags.begin(), flags.end());
  for (const auto& [name, value] : all) {
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    EXPECT_NE(flag, nullptr) << name;
    std::string error;
    EXPECT_TRUE(flag != nullptr && flag->ParseFrom(value, &error)) << name << ": " << error;
  }
  return ReadLoaderConfig();
}

TEST(LoaderConfig, HasWhatSuitsAFolderOfThisMachine) {
  const absl::StatusOr<LoaderConfig> config = Read({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.role, "model-loader");
  EXPECT_EQ(config->server.listen_address, "127.0.0.1:50054");
  EXPECT_EQ(config->server.metrics_address, "127.0.0.1:9094");
  EXPECT_TRUE(absl::EndsWith(config->folder.path, "tests/data/tiny-r1"));
  EXPECT_FALSE(config->folder.follow_links);
  EXPECT_FALSE(config->storage.empty());
  EXPECT_GT(config->reader.num_threads, 0);
  EXPECT_GT(config->reader.buffer_bytes, 0u);
  EXPECT_EQ(config->max_concurrent_loads, 16u);
  EXPECT_TRUE(config->load.lend_memory);
}

TEST(LoaderConfig, LetsStageWorkersAloneLoad) {
  const absl::StatusOr<LoaderConfig> config = Read({});
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->server.callers.size(), 1u);
  EXPECT_EQ(config->server.callers[0].service, "baton.v1.Loading");
  EXPECT_EQ(config->server.callers[0].roles, (std::vector<std::string>{"stage-worker"}));
}

TEST(LoaderConfig, TakesWhatFlagsSay) {
  const absl::StatusOr<LoaderConfig> config = Read({{"listen_address", "127.0.0.1:0"},
                                                    {"ports_file", "/tmp/ports"},
                                                    {"drain_timeout", "7s"},
                                                    {"follow_links", "true"},
                                                    {"read_threads", "3"},
                                                    {"read_mib", "5"},
                                                    {"read_deadline", "11s"},
                                                    {"read_attempts", "100"},
                                                    {"connect_deadline", "12s"},
                                                    {"send_deadline", "13s"},
                                                    {"max_concurrent_loads", "1024"},
                                                    {"lend_memory", "false"},
                                                    {"ucx_transports", "sm"},
                                                    {"ucx_net_devices", "eth9"}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.listen_address, "127.0.0.1:0");
  EXPECT_EQ(config->server.ports_file, "/tmp/ports");
  EXPECT_EQ(config->server.drain_timeout, absl::Seconds(7));
  EXPECT_TRUE(config->folder.follow_links);
  EXPECT_EQ(config->reader.num_threads, 3);
  EXPECT_EQ(config->reader.buffer_bytes, size_t{5} << 20);
  EXPECT_EQ(config->reader.read_deadline, absl::Seconds(11));
  EXPECT_EQ(config->reader.max_attempts, 100);
  EXPECT_EQ(config->load.num_threads, 3);
  EXPECT_EQ(config->load.job_bytes, size_t{5} << 20);
  EXPECT_EQ(config->load.connect_deadline, absl::Seconds(12));
  EXPECT_EQ(config->load.send_deadline, absl::Seconds(13));
  EXPECT_EQ(config->max_concurrent_loads, 1024u);
  EXPECT_FALSE(config->load.lend_memory);
  EXPECT_EQ(config->transport.transports, "sm");
  EXPECT_EQ(config->transport.net_devices, "eth9");
}

TEST(LoaderConfig, RefusesByTheNameOfTheFlag) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> wrong = {
      {"model", {""}},
      {"read_threads", {"-1", "257"}},
      {"read_mib", {"-1", "257"}},
      {"read_attempts", {"0", "101"}},
      {"max_concurrent_loads", {"0", "1025"}},
      {"read_deadline", {"0s", "-1s"}},
      {"connect_deadline", {"0s"}},
      {"send_deadline", {"0s"}},
  };
  for (const auto& [name, values] : wrong) {
    for (const std::string& value : values) {
      const absl::Status status = Read({{name, value}}).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name << " " << value;
      std::string flag = absl::StrCat("--", name);
      for (char& letter : flag) letter = letter == '_' ? '-' : letter;
      EXPECT_TRUE(absl::StrContains(status.message(), flag)) << status << " of " << value;
    }
  }
}

TEST(LoaderConfig, LeavesAFolderThatIsNotThereToWhoOpensIt) {
  const absl::StatusOr<LoaderConfig> config = Read({{"model", "/nowhere/at/all"}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->folder.path, "/nowhere/at/all");
  EXPECT_GT(config->reader.num_threads, 0);
}

}  // namespace
}  // namespace baton::loader
