#include "tools/dequantize/output_file.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/fakes/checkpoint_writer.h"

namespace baton {
namespace {

TEST(OutputFile, HoldsWhatWasAppended) {
  testing::TempFolder temp("output_file");
  const auto file = OutputFile::Create(temp.File("a")).value();
  EXPECT_TRUE(file->Append("one ").ok());
  EXPECT_TRUE(file->Append("two").ok());
  EXPECT_TRUE(file->Close().ok());
  EXPECT_EQ(testing::ReadFile(temp.File("a")), "one two");
}

TEST(OutputFile, NeverOverwrites) {
  testing::TempFolder temp("output_exists");
  testing::WriteFile(temp.File("a"), "mine");
  EXPECT_EQ(OutputFile::Create(temp.File("a")).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(testing::ReadFile(temp.File("a")), "mine");
}

TEST(OutputFile, LeavesNoHalfFile) {
  testing::TempFolder temp("output_half");
  {
    const auto file = OutputFile::Create(temp.File("a")).value();
    EXPECT_TRUE(file->Append("half").ok());
  }
  EXPECT_FALSE(std::filesystem::exists(temp.File("a")));
}

TEST(OutputFile, NamesAPathThatCannotBe) {
  testing::TempFolder temp("output_path");
  const absl::Status status = OutputFile::Create(temp.File("none/a")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("none/a"), std::string::npos) << status;
}

}  // namespace
}  // namespace baton
