#include "tests/conformance/model/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

#include "common/log/check.h"
#include "kernels/api/attention.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_variant.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

constexpr absl::string_view kCpuPrefix = "cpu_";

TinyModel LoadForm(const std::string& form) {
  TinyModel model;
  const auto text = ReadModelConfigText(TinyModelFolder());
  BATON_CHECK_OK(text.status());
  auto config = ParseModelConfig(*text);
  BATON_CHECK_OK(config.status());
  model.config = *config;
  auto checkpoint = fakes::MemoryCheckpoint::Read(TinyModelFolder());
  BATON_CHECK_OK(checkpoint.status());
  model.checkpoint = *std::move(checkpoint);
  if (form == "bf16") {
    model.checkpoint = model.checkpoint.ToBFloat16Form(model.config.fp8_block_size);
    model.config.fp8_weights = false;
  }
  auto sequences = fakes::ReadOracle(absl::StrCat(TinyModelFolder(), "/oracle/", form, ".jsonl"));
  BATON_CHECK_OK(sequences.status());
  model.sequences = *std::move(sequences);
  return model;
}

double LogprobOf(const stage::PositionScores& scores, uint32_t token_id) {
  for (const kernels::TokenScore& score : scores.top) {
    if (score.token_id == token_id) return score.logprob;
  }
  return -std::numeric_limits<double>::infinity();
}

bool IsTopTwoTie(const fakes::OracleTop& top) {
  return top.logprobs[0] - top.logprobs[1] < kTopTwoTie;
}

// `tokens`: prompt and answer.
AnswerParting PartingOf(const std::vector<uint32_t>& tokens,
                        const fakes::OracleSequence& sequence) {
  for (size_t i = 0; i < sequence.greedy_ids.size(); ++i) {
    const size_t position = sequence.prompt_ids.size() + i;
    if (tokens[position] == sequence.greedy_ids[i]) continue;
    // Another continuation from here on.
    AnswerParting parting = {static_cast<int64_t>(i), false};
    for (const fakes::OracleTop& top : sequence.top) {
      parting.top_two_tie |= top.position == position - 1 && IsTopTwoTie(top);
    }
    return parting;
  }
  return {};
}

}  // namespace

const TinyModel& TinyModelOf(const std::string& form) {
  static std::map<std::string, TinyModel> models;
  const auto found = models.find(form);
  return found != models.end() ? found->second : models.emplace(form, LoadForm(form)).first->second;
}

std::string TinyModelFolder() {
  const char* given = std::getenv("BATON_TINY_MODEL");
  return given != nullptr ? given : std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
}

bool IsCuda(const std::string& backend) { return backend == "cuda" || backend == "cuda_plain"; }

std::vector<std::string> BackendNames() {
  std::vector<std::string> names = {"reference"};
  if (kernels::CreateCudaBackend().ok()) names.insert(names.end(), {"cuda_plain", "cuda"});
  for (const kernels::CpuVariant variant : kernels::AvailableCpuVariants()) {
    names.push_back(absl::StrCat(kCpuPrefix, kernels::Name(variant)));
  }
  return names;
}

bool IsSlow(const std::string& backend) {
  return backend == "reference" ||
         backend == absl::StrCat(kCpuPrefix, kernels::Name(kernels::CpuVariant::kPortable));
}

bool TakesWholeOracle(const std::string& backend) {
  return !IsSanitized() && backend == BackendNames().back();
}

std::unique_ptr<kernels::Backend> MakeBackend(const std::string& name) {
  if (name == "reference") return kernels::CreateReferenceBackend();
  if (IsCuda(name)) {
    auto backend = kernels::CreateCudaBackend({.plain_kernels = name == "cuda_plain"});
    BATON_CHECK_OK(backend.status());
    return *std::move(backend);
  }
  const auto variant = kernels::ParseCpuVariant(absl::StripPrefix(name, kCpuPrefix));
  BATON_CHECK_OK(variant.status());
  auto backend = kernels::CreateCpuBackend({.num_threads_per_device = 2, .variant = *variant});
  BATON_CHECK_OK(backend.status());
  return *std::move(backend);
}

std::string NameOf(const Cell& cell) {
  return absl::StrCat(
      cell.backend, "_", cell.form, "_pp", cell.num_stages, "_tp", cell.num_ranks, "_devices",
      cell.num_devices, "_", cell.compute_type == DataType::kFloat32 ? "float32" : "bfloat16",
      cell.num_speculative_tokens > 0 ? absl::StrCat("_drafts", cell.num_speculative_tokens) : "",
      cell.absorbed ? "_absorbed" : "");
}

std::vector<Cell> FewerUnderSanitizers(std::vector<Cell> cells) {
  if (!IsSanitized()) return cells;
  std::vector<Cell> fewer;
  for (size_t i = 0; i < cells.size(); ++i) {
    const bool best = cells[i].backend == BackendNames().back();
    if (!best && cells[i].form != "fp8") continue;
    const bool all = best && cells[i].form == "fp8";
    const bool is_last = std::none_of(cells.begin() + i + 1, cells.end(), [&](const Cell& later) {
      return later.backend == cells[i].backend && later.form == cells[i].form;
    });
    if (all || is_last) fewer.push_back(cells[i]);
  }
  return fewer;
}

std::ostream& operator<<(std::ostream& out, const Cell& cell) { return out << NameOf(cell); }

std::unique_ptr<fakes::StageGroup> MakeGroup(const Cell& cell, kernels::Backend* backend,
                                             stage::ActivationTap* tap) {
  const TinyModel& model = TinyModelOf(cell.form);
  fakes::StageGroupOptions options;
  options.config = model.config;
  options.checkpoint = &model.checkpoint;
  options.backend = backend;
  options.num_stages = cell.num_stages;
  options.num_ranks = cell.num_ranks;
  options.num_devices = cell.num_devices;
  options.compute_type = cell.compute_type;
  options.num_speculative_tokens = cell.num_speculative_tokens;
  options.max_step_tokens = kLargestStep;
  options.expand_prompts = !cell.absorbed && backend->expands_prompts();
  options.tap = tap;
  auto group = fakes::StageGroup::Create(options);
  BATON_CHECK_OK(group.status());
  return *std::move(group);
}

void Distance::Add(const Distance& other) {
  if (!(other.worst <= worst)) {
    worst = other.worst;
    worst_position = other.worst_position;
  }
  sum_of_squares += other.sum_of_squares;
  num_logprobs += other.num_logprobs;
  num_positions += other.num_positions;
  num_top1_equal += other.num_top1_equal;
}

double Distance::rms() const {
  return std::sqrt(sum_of_squares / static_cast<double>(std::max<int64_t>(num_logprobs, 1)));
}

uint64_t ComputeOracleSequence(fakes::SequenceDriver& driver,
                               const fakes::OracleSequence& sequence) {
  stage::SamplingSettings sampling;
  sampling.logprobs = true;
  // All of them: in bfloat16 a token of the oracle's best may be far down here.
  const uint32_t vocab_size = static_cast<uint32_t>(driver.vocab_size());
  sampling.num_top_logprobs = vocab_size;
  sampling.num_prompt_logprobs = vocab_size;
  const uint64_t id = driver.Add(sequence.AllIds(), sampling);
  BATON_CHECK_OK(driver.Prefill(id, kLargestStep));
  return id;
}

Distance DistanceFromOracle(const fakes::SequenceDriver& driver, uint64_t computed,
                            const fakes::OracleSequence& sequence) {
  Distance distance;
  for (const fakes::OracleTop& top : sequence.top) {
    const stage::PositionScores& scores = driver.at(computed).scores.at(top.position + 1);
    for (size_t i = 0; i < top.ids.size(); ++i) {
      const double error = std::abs(LogprobOf(scores, top.ids[i]) - top.logprobs[i]);
      if (!(error <= distance.worst)) {  // NaN too
        distance.worst = error;
        distance.worst_position = top.position;
      }
      distance.sum_of_squares += error * error;
      ++distance.num_logprobs;
    }
    ++distance.num_positions;
    distance.num_top1_equal += scores.top.front().token_id == top.ids.front() ? 1 : 0;
  }
  return distance;
}

Deviation FirstDeviation(const fakes::SequenceDriver& driver, uint64_t computed,
                         const fakes::OracleSequence& sequence, double tolerance) {
  Deviation deviation;
  for (const fakes::OracleTop& top : sequence.top) {
    const stage::PositionScores& scores = driver.at(computed).scores.at(top.position + 1);
    bool right = scores.top.front().token_id == top.ids.front() || IsTopTwoTie(top);
    for (size_t i = 0; i < top.ids.size(); ++i) {
      // NaN is not within it.
      right = right && std::abs(LogprobOf(scores, top.ids[i]) - top.logprobs[i]) <= tolerance;
    }
    if (!right) {
      deviation.position = top.position;
      return deviation;
    }
    deviation.last_right = top.position;
  }
  return deviation;
}

Distance CompareWithOracle(fakes::SequenceDriver& driver, const fakes::OracleSequence& sequence) {
  const uint64_t id = ComputeOracleSequence(driver, sequence);
  const Distance distance = DistanceFromOracle(driver, id, sequence);
  driver.Finish(id);
  return distance;
}

Continuation BeginContinuation(fakes::SequenceDriver& driver, uint64_t computed,
                               const fakes::OracleSequence& sequence) {
  const uint64_t id = driver.Add(sequence.prompt_ids, {});
  // The last token is computed here, whatever it is: it draws the first of the answer.
  const uint32_t num_before = static_cast<uint32_t>(sequence.prompt_ids.size()) - 1;
  driver.Share(id, computed, num_before - num_before % kernels::kBlockTokens);
  BATON_CHECK_OK(driver.Prefill(id, kLargestStep));
  return {&sequence, id};
}

std::vector<AnswerParting> ContinueGreedily(fakes::SequenceDriver& driver,
                                            const std::vector<Continuation>& continuations) {
  std::vector<fakes::SequenceDriver::Part> parts;
  do {
    parts.clear();
    for (const Continuation& continuation : continuations) {
      if (driver.num_drawn(continuation.id) == continuation.sequence->greedy_ids.size()) continue;
      parts.push_back({continuation.id, 1});
    }
    if (!parts.empty()) BATON_CHECK_OK(driver.Step(parts));
  } while (!parts.empty());
  std::vector<AnswerParting> partings;
  for (const Continuation& continuation : continuations) {
    partings.push_back(PartingOf(driver.at(continuation.id).tokens, *continuation.sequence));
    driver.Finish(continuation.id);
  }
  return partings;
}

}  // namespace baton::conformance
