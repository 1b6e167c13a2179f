// float32 arithmetic against the oracle: the sharp test of the architecture.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/router_gaps.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {
namespace {

constexpr double kTolerance = 2e-3;
// Two experts nearer than this may swap between implementations in float32.
constexpr float kRouterTie = 1e-5f;

std::vector<Cell> ParityCells() {
  std::vector<Cell> cells;
  for (const std::string& backend : BackendNames()) {
    for (const char* form : {"fp8", "bf16"}) {
      for (int num_stages : {1, 2}) {
        for (int num_ranks : {1, 2, 4, 8}) {
          // A machine with one GPU runs the ranks of a stage one after the other.
          const bool spreads = num_stages == 2 && num_ranks > 1 && !IsCuda(backend);
          const int num_devices = spreads ? 2 : 1;
          cells.push_back({backend, form, num_stages, num_ranks, num_devices, DataType::kFloat32});
        }
      }
    }
  }
  return cells;
}

// The smallest router gap of a run of the whole sequence, up to `position`: by the reference, an
// excuse must not come from what is tested.
float RouterGapBefore(const std::string& form, const fakes::OracleSequence& sequence,
                      uint32_t position) {
  const auto reference = MakeBackend("reference");
  RouterGaps gaps(&TinyModelOf(form));
  const auto group =
      MakeGroup({"reference", form, 1, 1, 1, DataType::kFloat32}, reference.get(), &gaps);
  fakes::SequenceDriver driver(group.get());
  CompareWithOracle(driver, sequence);
  return gaps.SmallestUpTo(position);
}

class ModelParity : public testing::TestWithParam<Cell> {
 protected:
  ModelParity() : backend_(MakeBackend(GetParam().backend)) {
    group_ = MakeGroup(GetParam(), backend_.get());
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
  }

  // Which sequences this cell compares: all of them in every cell of the best backend and in one
  // cell per form of the other fast ones, else a share that moves from cell to cell.
  std::vector<const fakes::OracleSequence*> Share() const {
    const Cell& cell = GetParam();
    const bool slow = IsSlow(cell.backend);
    const bool whole =
        TakesWholeOracle(cell.backend) ||
        (!slow && (cell.form == "fp8" ? cell.num_stages == 2 && cell.num_ranks == 8
                                      : cell.num_stages == 1 && cell.num_ranks == 1));
    const int log_ranks = cell.num_ranks == 8 ? 3 : cell.num_ranks / 2;
    const size_t place = static_cast<size_t>((cell.num_stages - 1) * 4 + log_ranks);
    std::vector<const fakes::OracleSequence*> share;
    const auto& sequences = TinyModelOf(cell.form).sequences;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const bool mine = i % (slow ? 16 : 8) == place && !(slow && sequences[i].kind != "chat");
      if (whole || mine) share.push_back(&sequences[i]);
    }
    return share;
  }

  // How many greedy answers it compares: the oracle's of its share, of slow backends the first.
  int64_t NumAnswersOfShare() const {
    const auto share = Share();
    const auto count = std::count_if(share.begin(), share.end(), [](const auto* sequence) {
      return !sequence->greedy_ids.empty();
    });
    return IsSlow(GetParam().backend) ? std::min<int64_t>(count, 1) : count;
  }

  // Whether `distance` is what float32 may differ by, or a near-tie in a router excuses it.
  void ExpectLogprobs(const fakes::OracleSequence& sequence, const Distance& distance) {
    all_.Add(distance);
    if (distance.worst <= kTolerance && distance.first_wrong_top < 0) return;
    ++num_excused_;
    const float gap = RouterGapBefore(GetParam().form, sequence, distance.worst_position);
    EXPECT_LT(gap, kRouterTie) << "sequence " << sequence.id << " is off by " << distance.worst
                               << " at position " << distance.worst_position
                               << " without a near-tie in a router before it";
    std::printf("sequence %d: off by %g after a router gap of %g\n", sequence.id, distance.worst,
                static_cast<double>(gap));
  }

  // Generates what was begun, together.
  void ExpectContinuations() {
    const std::vector<int64_t> wrong = FirstWrongGreedyTokens(*driver_, begun_);
    ASSERT_EQ(wrong.size(), begun_.size());
    num_continued_ += static_cast<int64_t>(wrong.size());
    for (size_t i = 0; i < begun_.size(); ++i) {
      if (wrong[i] < 0) continue;
      const fakes::OracleSequence& sequence = *begun_[i].sequence;
      const auto position = static_cast<uint32_t>(sequence.prompt_ids.size() + wrong[i]) - 1;
      EXPECT_LT(RouterGapBefore(GetParam().form, sequence, position), kRouterTie)
          << "sequence " << sequence.id << " leaves the oracle at token " << wrong[i];
    }
    begun_.clear();
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<fakes::StageGroup> group_;
  std::unique_ptr<fakes::SequenceDriver> driver_;
  Distance all_;
  int num_excused_ = 0;
  std::vector<Continuation> begun_;
  int64_t num_continued_ = 0;
};

// Every log-probability of its share, and every greedy answer: of slow backends the first one.
TEST_P(ModelParity, GivesTheOraclesLogprobsAndGreedyAnswers) {
  const bool slow = IsSlow(GetParam().backend);
  int64_t num_answers = 0;
  for (const fakes::OracleSequence* sequence : Share()) {
    const uint64_t computed = ComputeOracleSequence(*driver_, *sequence);
    ExpectLogprobs(*sequence, DistanceFromOracle(*driver_, computed, *sequence));
    if (!sequence->greedy_ids.empty() && !(slow && num_answers > 0)) {
      ++num_answers;
      begun_.push_back(BeginContinuation(*driver_, computed, *sequence));
    }
    driver_->Finish(computed);
    // All short ones run together; the group has blocks for about two long ones at a time.
    if (sequence->kind == "long") ExpectContinuations();
  }
  ExpectContinuations();
  EXPECT_EQ(num_continued_, NumAnswersOfShare());
  EXPECT_GT(num_continued_, 0);
  EXPECT_GT(all_.num_positions, 0);
  EXPECT_LE(num_excused_, 1) << "near-ties are rare: more of them are an error";
  std::printf("%s: %lld positions, worst difference %.3g, rms %.3g; %lld greedy answers\n",
              NameOf(GetParam()).c_str(), static_cast<long long>(all_.num_positions), all_.worst,
              all_.rms(), static_cast<long long>(num_continued_));
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelParity, testing::ValuesIn(ParityCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
