// Every back end and variant that this machine can run: each conformance test runs on all of them.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/api/ops.h"

namespace baton::kernels {

struct BackendCase {
  std::string name;  // letters, digits and _
  // Makes one anew; null on failure.
  std::unique_ptr<Backend> (*create)(const BackendCase& backend) = nullptr;
  int variant = 0;
  int num_threads = 1;
  int most_devices = 8;
  bool on_gpu = false;
  bool through_nccl = false;           // sums and gathers
  bool quantises_activations = false;  // of products with FP8 weights, where shapes allow
  bool through_cublas = false;         // products of many rows: a row's bits depend on how many

  bool is_reference() const { return name == "reference" || name == "staged_reference"; }
};

inline void PrintTo(const BackendCase& backend, std::ostream* out) { *out << backend.name; }

// The reference, also behind staged copies, which proves those; CUDA behind them where the machine
// has a device; each CPU variant with one and with three threads, and the AMX kernels on modelled
// tiles where the machine has the rest of what they need.
std::vector<BackendCase> AllBackends();
// Without the reference itself: for tests that compare with it and ask nothing else.
std::vector<BackendCase> BackendsBesideReference();

// A test that has one device of the back end under test and one of the reference.
class ConformanceTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override;

  std::unique_ptr<Backend> MakeBackend() const { return GetParam().create(GetParam()); }

  Ops& ops() { return *team_.devices[0].ops; }
  Ops& reference() { return *reference_.devices[0].ops; }

 private:
  Team team_;
  Team reference_;
};

// "Linear.MatchesReference/cpu_avx2" and so on.
std::string CaseName(const ::testing::TestParamInfo<BackendCase>& backend);

#define BATON_CONFORMANCE_TESTS(suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(Backends, suite, ::testing::ValuesIn(::baton::kernels::AllBackends()), \
                           ::baton::kernels::CaseName)
#define BATON_COMPARISON_TESTS(suite)                                                        \
  INSTANTIATE_TEST_SUITE_P(Backends, suite,                                                  \
                           ::testing::ValuesIn(::baton::kernels::BackendsBesideReference()), \
                           ::baton::kernels::CaseName)

}  // namespace baton::kernels
