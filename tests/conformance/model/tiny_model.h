// The demo model with its oracle, and how a run is held against it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "common/model/model_config.h"
#include "kernels/api/ops.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/oracle_file.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/fakes/stage_group.h"

namespace baton::conformance {

// Tokens of a step at most; longer prompts are computed in chunks.
inline constexpr uint32_t kLargestStep = 512;

struct TinyModel {
  ModelConfig config;
  fakes::MemoryCheckpoint checkpoint;
  std::vector<fakes::OracleSequence> sequences;
};

// "fp8" or "bf16"; read once.
const TinyModel& TinyModelOf(const std::string& form);

// tests/data/tiny-r1 of the source tree, or what BATON_TINY_MODEL says.
std::string TinyModelFolder();

// "reference"; "cuda_plain", and "cuda" with Hopper's kernels, where the machine has a GPU; "cpu_"
// with each variant that it can run, the best one last.
std::vector<std::string> BackendNames();
bool IsCuda(const std::string& backend);
// Whether it is one for reading or for any machine, not for speed: tests give it a share of the
// oracle.
bool IsSlow(const std::string& backend);
// Whether every cell of the backend is held against the whole oracle: the best CPU variant's, but
// under sanitizers, where that would take an hour.
bool TakesWholeOracle(const std::string& backend);
std::unique_ptr<kernels::Backend> MakeBackend(const std::string& name);

// One cell of the test matrix.
struct Cell {
  std::string backend;
  std::string form;
  int num_stages = 1;
  int num_ranks = 1;
  int num_devices = 1;
  DataType compute_type = DataType::kFloat32;
  int num_speculative_tokens = 0;
  bool absorbed = false;  // all attention, also on backends that expand prompts
};
std::ostream& operator<<(std::ostream& out, const Cell& cell);

// `cells`; under sanitizers, which look for the same in most of them, fewer: of the best backend
// those of FP8 and the last one of BF16, of each other one the last of FP8.
std::vector<Cell> FewerUnderSanitizers(std::vector<Cell> cells);
std::string NameOf(const Cell& cell);  // for gtest: letters, digits, underscores

// A group running the cell. Ends the process on failure.
std::unique_ptr<fakes::StageGroup> MakeGroup(const Cell& cell, kernels::Backend* backend,
                                             stage::ActivationTap* tap = nullptr);

// How far one sequence's log-probabilities are from the oracle's, over the oracle's top 8 at each
// of its positions.
struct Distance {
  double worst = 0.0;
  uint32_t worst_position = 0;
  double sum_of_squares = 0.0;
  int64_t num_logprobs = 0;
  int64_t num_positions = 0;
  int64_t num_top1_equal = 0;

  void Add(const Distance& other);
  double rms() const;
};

// By how much log-probabilities in float32 may differ from the oracle's.
inline constexpr double kLogprobTolerance = 2e-3;
// Two best tokens nearer than this may swap when log-probabilities may differ by half of it.
inline constexpr double kTopTwoTie = 4e-3;

// Runs prompt and greedy continuation as one prompt. Returns the id of the sequence, which the
// caller finishes.
uint64_t ComputeOracleSequence(fakes::SequenceDriver& driver,
                               const fakes::OracleSequence& sequence);
// Of the sequence that ComputeOracleSequence returned, at every oracle position.
Distance DistanceFromOracle(const fakes::SequenceDriver& driver, uint64_t computed,
                            const fakes::OracleSequence& sequence);
// Computes it, and finishes the sequence.
Distance CompareWithOracle(fakes::SequenceDriver& driver, const fakes::OracleSequence& sequence);

// Where a sequence first leaves the oracle.
struct Deviation {
  int64_t position = -1;    // -1: nowhere
  int64_t last_right = -1;  // the oracle's position before it; -1: none
};
// The first oracle position where one of the oracle's top 8 log-probabilities is off by more than
// `tolerance`, or another token is the best other than at a top-two tie. As DistanceFromOracle.
Deviation FirstDeviation(const fakes::SequenceDriver& driver, uint64_t computed,
                         const fakes::OracleSequence& sequence, double tolerance);

// An oracle's prompt with a greedy answer that grows.
struct Continuation {
  const fakes::OracleSequence* sequence = nullptr;
  uint64_t id = 0;  // with the driver
};

// Runs the prompt and draws the first token. The prompt's full blocks are those of `computed`,
// which ComputeOracleSequence returned for the same sequence and which is not finished yet.
Continuation BeginContinuation(fakes::SequenceDriver& driver, uint64_t computed,
                               const fakes::OracleSequence& sequence);

// Where a greedy answer leaves the oracle's.
struct AnswerParting {
  int64_t index = -1;        // in the answer; -1: nowhere
  bool top_two_tie = false;  // of the oracle, at that very token
};

// Generates all of them to the end of the oracle's answers, each step with a row of each that has
// not ended, and finishes them. Returns where each leaves the oracle's answer.
std::vector<AnswerParting> ContinueGreedily(fakes::SequenceDriver& driver,
                                            const std::vector<Continuation>& continuations);

}  // namespace baton::conformance
