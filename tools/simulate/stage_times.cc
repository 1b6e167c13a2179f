#include "tools/simulate/stage_times.h"

#include <algorithm>
#include <array>

#include "common/log/check.h"

namespace baton::simulate {
namespace {

using scheduler::StepWork;

constexpr double kLayers = 61;
constexpr double kFirstLayers = 31;   // 3 dense + 28 MoE, embedding
constexpr double kSecondLayers = 30;  // 30 MoE, head

// Floor of a step in milliseconds, by tokens: computed from shapes as max(bytes / 4.3 TB/s, FLOP /
// peak) per operation, DeepSeek-R1, PP=2 x TP=8. Up to 128 tokens these are decodes of `context`
// tokens each; the last row is one chunk of a prompt with nothing before it.
struct Floor {
  double tokens;
  double context;
  double first;
  double second;
};
constexpr std::array<Floor, 6> kFloors = {{{1, 4096, 0.697, 0.730},
                                           {8, 1600, 2.55, 2.71},
                                           {16, 4096, 4.61, 4.87},
                                           {64, 4096, 10.66, 11.17},
                                           {128, 4096, 14.02, 14.53},
                                           {2048, 0, 16.4, 16.6}}};

// Per layer and position of KV cache read by decodes: 1,152 bytes at 4.3 TB/s.
constexpr double kDecodeReadMs = 1152 / 4.3e12 * 1e3;
// Per layer, of a chunk: kv_b expands what was computed before anew (91.6 us for 32,768 positions),
// then every pair costs 842.7 us / 65.0 M (a chunk of 2,048 behind 30,720 tokens).
constexpr double kChunkReadMs = 91.6e-3 / 32768;
constexpr double kChunkPairMs = 842.7e-3 / 65.0e6;

double ContextMs(const Floor& floor) {
  if (floor.context > 0) return floor.tokens * floor.context * kDecodeReadMs;
  return floor.tokens * kChunkReadMs + floor.tokens * floor.tokens / 2 * kChunkPairMs;
}

// Without what depends on context; linear between the rows of the table, and beyond the last.
double TokensMs(double tokens, double Floor::*stage, double layers) {
  const auto value = [&](size_t i) { return kFloors[i].*stage - layers * ContextMs(kFloors[i]); };
  size_t high = 1;
  while (high + 1 < kFloors.size() && kFloors[high].tokens < tokens) ++high;
  const double part =
      (tokens - kFloors[high - 1].tokens) / (kFloors[high].tokens - kFloors[high - 1].tokens);
  return value(high - 1) + std::max(0.0, part) * (value(high) - value(high - 1));
}

double ContextMs(const StepWork& work) {
  return static_cast<double>(work.decode_kv) * kDecodeReadMs +
         static_cast<double>(work.chunk_kv) * kChunkReadMs +
         static_cast<double>(work.chunk_pairs) * kChunkPairMs;
}

}  // namespace

StageTimes::StageTimes(uint32_t num_stages, double efficiency) : efficiency_(efficiency) {
  BATON_CHECK(num_stages > 0 && efficiency > 0) << "no stage, or no speed";
  for (uint32_t i = 0; i < num_stages; ++i) {
    if (num_stages == 2) {
      shares_.push_back(i == 0 ? Share{1, 0, kFirstLayers} : Share{0, 1, kSecondLayers});
    } else {
      shares_.push_back({1.0 / num_stages, 1.0 / num_stages, kLayers / num_stages});
    }
  }
}

StageTimes::StageTimes(const scheduler::StepCostOptions& floors, double efficiency)
    : efficiency_(efficiency) {
  BATON_CHECK(!floors.prior.empty() && efficiency > 0) << "no stage, or no speed";
  for (const scheduler::CostTerms& floor : floors.prior) {
    others_.emplace_back(
        scheduler::StepCostOptions{.prior = {floor}, .expert_share = floors.expert_share});
  }
}

double StageTimes::Seconds(uint32_t stage_index, const StepWork& work) const {
  if (work.tokens == 0) return 0;
  if (!others_.empty()) return others_[stage_index].Seconds(work) / efficiency_;
  const Share& share = shares_[stage_index];
  const double tokens = static_cast<double>(work.tokens);
  const double ms = share.first * TokensMs(tokens, &Floor::first, kFirstLayers) +
                    share.second * TokensMs(tokens, &Floor::second, kSecondLayers) +
                    share.layers * ContextMs(work);
  return ms * 1e-3 / efficiency_;
}

scheduler::StepCostOptions R1StepCost(uint32_t num_stages) {
  // Floors by shapes, as `baton plan` prints them for 2 x 8 ranks; of both stages together.
  constexpr scheduler::CostTerms kModel{
      .values = {7.3e-4, 1.9e-2, 6.1e-6, 1.63e-8, 1.71e-7, 7.9e-10, 2.9e-7}};
  scheduler::CostTerms stage = kModel;
  for (double& price : stage.values) price /= num_stages;
  return {.prior = std::vector<scheduler::CostTerms>(num_stages, stage), .expert_share = 8.0 / 256};
}

}  // namespace baton::simulate
