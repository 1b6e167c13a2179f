// float32 arithmetic against the oracle: the sharp test of the architecture.
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/router_choices.h"
#include "tests/conformance/model/tiny_model.h"
#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

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
  return FewerUnderSanitizers(cells);
}

// The cell that sees most of a backend that does not see all in every one: one for each form.
bool IsWidest(const Cell& cell) {
  return cell.form == "fp8" ? cell.num_stages == 2 && cell.num_ranks == 8
                            : cell.num_stages == 1 && cell.num_ranks == 1;
}

class ModelParity : public testing::TestWithParam<Cell> {
 protected:
  ModelParity() : backend_(MakeBackend(GetParam().backend)) {
    group_ = MakeGroup(GetParam(), backend_.get());
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
  }

  // Which sequences this cell compares: all of them in every cell of the best backend and in the
  // widest ones of the others, else a share that moves from cell to cell. The reference, which
  // would take minutes, compares all conversations and the shortest of the long texts in its widest
  // ones; under sanitizers there are no widest ones.
  std::vector<const fakes::OracleSequence*> Share() const {
    const Cell& cell = GetParam();
    const bool slow = IsSlow(cell.backend);
    const int log_ranks = cell.num_ranks == 8 ? 3 : cell.num_ranks / 2;
    const size_t place = static_cast<size_t>((cell.num_stages - 1) * 4 + log_ranks);
    const bool whole = TakesWholeOracle(cell.backend) || (widest() && cell.backend != "reference");
    std::vector<const fakes::OracleSequence*> share;
    bool has_long = false;
    const auto& sequences = TinyModelOf(cell.form).sequences;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const bool chat = sequences[i].kind == "chat";
      const bool first_long = sequences[i].kind == "long" && !std::exchange(has_long, true);
      const bool mine =
          widest() ? chat || first_long : i % (slow ? 16 : 8) == place && (chat || !slow);
      if (whole || mine) share.push_back(&sequences[i]);
    }
    return share;
  }
  bool widest() const { return IsWidest(GetParam()) && !IsSanitized(); }

  // How many greedy answers it compares: all of its share; of slow backends the first one, in
  // their widest cells the first ten.
  int64_t NumAnswers() const {
    const auto share = Share();
    const auto count = std::count_if(share.begin(), share.end(), [](const auto* sequence) {
      return !sequence->greedy_ids.empty();
    });
    if (!IsSlow(GetParam().backend)) return count;
    return std::min<int64_t>(count, widest() ? 10 : 1);
  }

  // Within what float32 may differ by, or excused by a near-tie of a router just there.
  void ExpectLogprobs(const fakes::OracleSequence& sequence, uint64_t computed) {
    all_.Add(DistanceFromOracle(*driver_, computed, sequence));
    const Deviation deviation = FirstDeviation(*driver_, computed, sequence, kLogprobTolerance);
    if (deviation.position >= 0) ExpectRouterTie(sequence, deviation);
  }

  void ExpectRouterTie(const fakes::OracleSequence& sequence, const Deviation& deviation) {
    ++num_router_ties_;
    EXPECT_TRUE(IsRouterTie(GetParam(), backend_.get(), sequence, deviation))
        << "sequence " << sequence.id << " leaves the oracle at position " << deviation.position;
  }

  // Generates what was begun, together.
  void ExpectContinuations() {
    const std::vector<AnswerParting> partings = ContinueGreedily(*driver_, begun_);
    ASSERT_EQ(partings.size(), begun_.size());
    num_continued_ += static_cast<int64_t>(partings.size());
    for (size_t i = 0; i < begun_.size(); ++i) {
      if (partings[i].index < 0) continue;
      const fakes::OracleSequence& sequence = *begun_[i].sequence;
      // The row that drew the token.
      const int64_t position =
          static_cast<int64_t>(sequence.prompt_ids.size()) + partings[i].index - 1;
      if (partings[i].top_two_tie) {
        ++num_answer_ties_;
        std::printf("%s: sequence %d draws the other of two best tokens at position %lld\n",
                    NameOf(GetParam()).c_str(), sequence.id, static_cast<long long>(position));
        continue;
      }
      ExpectRouterTie(sequence, {position, position - 1});
    }
    begun_.clear();
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<fakes::StageGroup> group_;
  std::unique_ptr<fakes::SequenceDriver> driver_;
  Distance all_;
  int num_router_ties_ = 0;
  int num_answer_ties_ = 0;
  std::vector<Continuation> begun_;
  int64_t num_continued_ = 0;
};

// Every log-probability of its share, and greedy answers.
TEST_P(ModelParity, GivesTheOraclesLogprobsAndGreedyAnswers) {
  int64_t num_left = NumAnswers();
  for (const fakes::OracleSequence* sequence : Share()) {
    const uint64_t computed = ComputeOracleSequence(*driver_, *sequence);
    ExpectLogprobs(*sequence, computed);
    if (!sequence->greedy_ids.empty() && num_left > 0) {
      --num_left;
      begun_.push_back(BeginContinuation(*driver_, computed, *sequence));
    }
    driver_->Finish(computed);
    // All short ones run together; the group has blocks for about two long ones at a time.
    if (sequence->kind == "long") ExpectContinuations();
  }
  ExpectContinuations();
  EXPECT_EQ(num_continued_, NumAnswers());
  EXPECT_GT(num_continued_, 0);
  EXPECT_GT(all_.num_positions, 0);
  EXPECT_LE(num_router_ties_, MostRouterTies(GetParam().backend));
  const int64_t num_other_best = all_.num_positions - all_.num_top1_equal;
  // Top-two ties that went the other way: none in any cell either.
  if (!IsCuda(GetParam().backend)) {
    EXPECT_EQ(num_answer_ties_, 0);
    EXPECT_EQ(num_other_best, 0);
  }
  std::printf(
      "%s: %lld positions, worst difference %.3g, rms %.3g, %lld with another best token; %lld "
      "greedy answers; excused: %d near-ties of routers, %d of best tokens\n",
      NameOf(GetParam()).c_str(), static_cast<long long>(all_.num_positions), all_.worst,
      all_.rms(), static_cast<long long>(num_other_best), static_cast<long long>(num_continued_),
      num_router_ties_, num_answer_ties_);
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelParity, testing::ValuesIn(ParityCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
