#include "common/config/build_id.h"

#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(BuildId, IsTheOneInTheProgramsFile) {
  const std::string id = BuildId();
  ASSERT_EQ(id.size(), 40u);
  std::ifstream program("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(program), {}};
  EXPECT_TRUE(absl::StrContains(bytes, std::string("GNU\0", 4) + absl::HexStringToBytes(id)));
}

}  // namespace
}  // namespace baton
