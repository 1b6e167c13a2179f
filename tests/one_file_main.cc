// The main function of a program that holds the tests of many files
// (tools/cmake/BatonTargets.cmake).
//
//   unit_common_tests --only-files=tests/unit/common/log/log_test.cc [gtest's flags]
//
// --only-files leaves the tests of the named files; a --gtest_filter goes before it. A file that
// holds no test is an error: a name that changed must not pass as "0 tests, all green".

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

// A filter of gtest's that matches the tests of `file` alone; empty if there are none.
std::string FilterOf(const std::string& file) {
  std::string filter;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const testing::TestInfo& test = *suite.GetTestInfo(j);
      if (absl::EndsWith(test.file(), file))
        absl::StrAppend(&filter, filter.empty() ? "" : ":", suite.name(), ".", test.name());
    }
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string flag = "--only-files=";
  std::vector<std::string> files;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (absl::StartsWith(argv[i], flag)) {
      files = absl::StrSplit(argv[i] + flag.size(), ',');
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  argv[argc] = nullptr;
  testing::InitGoogleMock(&argc, argv);
  if (!files.empty() && testing::GTEST_FLAG(filter) == "*") {
    std::string filter;
    for (const std::string& file : files) {
      const std::string of_file = FilterOf(file);
      if (of_file.empty()) {
        std::fprintf(stderr, "no test is of the file %s\n", file.c_str());
        return 2;
      }
      absl::StrAppend(&filter, filter.empty() ? "" : ":", of_file);
    }
    testing::GTEST_FLAG(filter) = filter;
  }
  return RUN_ALL_TESTS();
}
