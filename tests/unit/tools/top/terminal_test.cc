#include "tools/top/terminal.h"

#include "gtest/gtest.h"

namespace baton::top {
namespace {

TEST(ScreenText, CutsWhatDoesNotFit) {
  EXPECT_EQ(ScreenText({"abcdef", "gh", "ij"}, 4, 2), "\033[Habcd\033[K\r\ngh\033[K\033[J");
}

TEST(ScreenText, KeepsAllOnATerminalOfUnknownSize) {
  EXPECT_EQ(ScreenText({"abcdef", "gh"}, 0, 0), "\033[Habcdef\033[K\r\ngh\033[K\033[J");
}

}  // namespace
}  // namespace baton::top
