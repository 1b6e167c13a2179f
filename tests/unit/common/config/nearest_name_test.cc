#include "common/config/nearest_name.h"

#include "gtest/gtest.h"

namespace baton {
namespace {

const std::vector<std::string>& Known() {
  static const auto* known = new std::vector<std::string>{"max-model-len", "max-num-seqs", "port",
                                                          "host", "tensor-parallel-size"};
  return *known;
}

TEST(NearestName, FindsATypingError) {
  EXPECT_EQ(NearestName("max-modle-len", Known()), "max-model-len");
  EXPECT_EQ(NearestName("prot", Known()), "port");
  EXPECT_EQ(NearestName("max-num-seq", Known()), "max-num-seqs");
}

TEST(NearestName, FindsABeginning) {
  EXPECT_EQ(NearestName("tensor-par", Known()), "tensor-parallel-size");
}

TEST(NearestName, SaysNothingWhenNothingIsNear) {
  EXPECT_EQ(NearestName("quantization-of-weights", Known()), "");
  EXPECT_EQ(NearestName("", Known()), "");
  EXPECT_EQ(NearestName("port", {}), "");
}

}  // namespace
}  // namespace baton
