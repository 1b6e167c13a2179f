#include "tools/dequantize/dequantize_command.h"

#include <sstream>

#include <gtest/gtest.h>

#include "tests/fakes/checkpoint_writer.h"

namespace baton {
namespace {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome Command(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunDequantize(words, out, err);
  return {code, out.str(), err.str()};
}

TEST(DequantizeCommand, ConvertsAndSaysSo) {
  testing::TempFolder temp("dequantize_command");
  const std::string demo = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
  const Outcome outcome = Command({demo, temp.File("out")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("BF16"), std::string::npos);
  const Outcome again = Command({demo, temp.File("out")});
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.err.find("not empty"), std::string::npos) << again.err;
}

TEST(DequantizeCommand, RefusesWrongCommandLines) {
  EXPECT_EQ(Command({}).code, 2);
  EXPECT_EQ(Command({"a"}).code, 2);
  EXPECT_EQ(Command({"a", "b", "c"}).code, 2);
  EXPECT_EQ(Command({"a", "b", "--force"}).code, 2);
  EXPECT_EQ(Command({"--help"}).code, 0);
}

}  // namespace
}  // namespace baton
