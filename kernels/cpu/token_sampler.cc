#include "kernels/cpu/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/log/check.h"
#include "kernels/api/reproducible_math.h"

namespace baton::kernels::cpu {
namespace {

// Marks tokens of the prompt among the counts of the answer.
constexpr uint32_t kInPrompt = 0x80000000u;
// Distances at which SoftmaxMass is certainly 0.
constexpr float kNoMass = -28.0f;
// Covers the rounding of ExpNonPositive when a bound on it is turned into one on its argument.
constexpr float kMinPMargin = 0.01f;

bool HasPenalties(const SamplingRow& row) {
  return row.presence_penalty != 0.0f || row.frequency_penalty != 0.0f ||
         row.repetition_penalty != 1.0f;
}

}  // namespace

// Largest value first, ties by lower id.
bool TokenSampler::Better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.token_id < b.token_id;
}

void TokenSampler::Sample(const float* logits, int64_t vocabulary, const SamplingRow& row,
                          SampleResult* result) {
  const RowExtremes raw = kernels_->extremes(logits, vocabulary);
  *result = {};
  result->finite = raw.finite;
  if (!raw.finite) return;
  const float* values = Adjust(logits, vocabulary, row, raw.moderate);
  if (!row.allowed_tokens.empty()) {
    result->token_id = DrawAllowed(values, vocabulary, row);
  } else {
    const RowExtremes adjusted = values == logits ? raw : kernels_->extremes(values, vocabulary);
    result->token_id = Draw(values, vocabulary, row, adjusted);
  }
  if (row.logprobs) {
    ScoreFinite(logits, vocabulary, raw, result->token_id, row.num_top_logprobs, result);
  }
}

void TokenSampler::Score(const float* logits, int64_t vocabulary, uint32_t target, uint32_t num_top,
                         SampleResult* result) {
  const RowExtremes raw = kernels_->extremes(logits, vocabulary);
  *result = {};
  result->token_id = target;
  result->finite = raw.finite;
  if (raw.finite) ScoreFinite(logits, vocabulary, raw, target, num_top, result);
}

// Steps 1 and 2; the logits themselves if nothing changes.
const float* TokenSampler::Adjust(const float* logits, int64_t vocabulary, const SamplingRow& row,
                                  bool moderate) {
  if (row.logit_bias.empty() && !HasPenalties(row) && moderate) return logits;
  values_.assign(logits, logits + vocabulary);
  for (const TokenBias& entry : row.logit_bias) {
    BATON_CHECK(entry.token_id < vocabulary) << "bias of token " << entry.token_id;
    values_[entry.token_id] += entry.bias;
  }
  if (HasPenalties(row)) Penalize(row);
  for (float& value : values_) value = std::clamp(value, -kLargestLogit, kLargestLogit);
  return values_.data();
}

void TokenSampler::Penalize(const SamplingRow& row) {
  if (counts_.size() < values_.size()) counts_.resize(values_.size());
  for (uint32_t id : row.answer_tokens) {
    BATON_CHECK(id < values_.size()) << "token " << id;
    ++counts_[id];
  }
  for (uint32_t id : row.prompt_tokens) {
    BATON_CHECK(id < values_.size()) << "token " << id;
    counts_[id] |= kInPrompt;
  }
  const auto penalize_once = [&](uint32_t id) {
    if (counts_[id] == 0) return;
    const uint32_t count = counts_[id] & ~kInPrompt;
    counts_[id] = 0;
    float value = values_[id];
    value = value > 0.0f ? value / row.repetition_penalty : value * row.repetition_penalty;
    if (count > 0) {
      value -= row.frequency_penalty * static_cast<float>(count);
      value -= row.presence_penalty;
    }
    values_[id] = value;
  };
  for (uint32_t id : row.answer_tokens) penalize_once(id);
  for (uint32_t id : row.prompt_tokens) penalize_once(id);
}

uint32_t TokenSampler::Draw(const float* values, int64_t vocabulary, const SamplingRow& row,
                            const RowExtremes& extremes) {
  if (row.temperature < kGreedyTemperature) return extremes.index;
  distances_.resize(vocabulary);
  kernels_->scale_row(values, vocabulary, row.temperature, extremes.largest, distances_.data());
  const bool filtered =
      (row.top_k > 0 && row.top_k < vocabulary) || row.top_p < 1.0f || row.min_p > 0.0f;
  if (filtered) return DrawFiltered(distances_.data(), vocabulary, row);
  return kernels_->draw(distances_.data(), vocabulary, row.seed, row.position).index;
}

uint32_t TokenSampler::DrawFiltered(const float* distances, int64_t vocabulary,
                                    const SamplingRow& row) {
  const float everything = -std::numeric_limits<float>::infinity();
  if (row.top_k > 0 && row.top_k < vocabulary) {
    CollectBest(distances, vocabulary, row.top_k, everything);
    if (row.top_p < 1.0f) KeepNucleus(row.top_p, CandidateMass());
  } else if (row.top_p < 1.0f) {
    // Tokens without mass come last and never make it.
    CollectBest(distances, vocabulary, vocabulary, kNoMass);
    KeepNucleus(row.top_p, kernels_->mass(distances, vocabulary, 0.0f));
  } else {
    CollectBest(distances, vocabulary, vocabulary, std::log(row.min_p) - kMinPMargin);
  }
  KeepLikely(row.min_p);
  return DrawCandidate(row);
}

uint32_t TokenSampler::DrawAllowed(const float* values, int64_t vocabulary,
                                   const SamplingRow& row) {
  candidates_.clear();
  for (uint32_t id : row.allowed_tokens) {
    BATON_CHECK(id < vocabulary) << "allowed token " << id;
    candidates_.push_back({id, values[id]});
  }
  std::sort(candidates_.begin(), candidates_.end(), Better);
  const auto same = [](const Candidate& a, const Candidate& b) { return a.token_id == b.token_id; };
  candidates_.erase(std::unique(candidates_.begin(), candidates_.end(), same), candidates_.end());
  if (row.temperature < kGreedyTemperature) return candidates_.front().token_id;
  for (Candidate& candidate : candidates_) candidate.value /= row.temperature;
  const float largest = candidates_.front().value;
  for (Candidate& candidate : candidates_) candidate.value -= largest;
  // Distances may be equal where values were not: ids decide again.
  std::sort(candidates_.begin(), candidates_.end(), Better);
  if (row.top_k > 0 && row.top_k < candidates_.size()) candidates_.resize(row.top_k);
  if (row.top_p < 1.0f) KeepNucleus(row.top_p, CandidateMass());
  KeepLikely(row.min_p);
  return DrawCandidate(row);
}

void TokenSampler::CollectBest(const float* values, int64_t vocabulary, size_t count, float floor) {
  candidates_.clear();
  if (count == 0) return;
  // A heap with the worst on top. Ids ascend, so that equals of the worst are worse still.
  for (int64_t i = kernels_->find_above(values, 0, vocabulary, floor); i < vocabulary;
       i = kernels_->find_above(values, i + 1, vocabulary, floor)) {
    const Candidate candidate = {static_cast<uint32_t>(i), values[i]};
    if (candidates_.size() == count) {
      std::pop_heap(candidates_.begin(), candidates_.end(), Better);
      candidates_.back() = candidate;
    } else {
      candidates_.push_back(candidate);
    }
    if (count < static_cast<size_t>(vocabulary)) {
      std::push_heap(candidates_.begin(), candidates_.end(), Better);
      if (candidates_.size() == count) floor = candidates_.front().value;
    }
  }
}

uint64_t TokenSampler::CandidateMass() const {
  uint64_t total = 0;
  for (const Candidate& candidate : candidates_) total += SoftmaxMass(candidate.value);
  return total;
}

void TokenSampler::KeepNucleus(float top_p, uint64_t total) {
  const double limit = double{top_p} * static_cast<double>(total);
  const auto worse = [](const Candidate& a, const Candidate& b) { return Better(b, a); };
  // The best come off the heap one by one and gather at the end.
  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  auto rest = candidates_.end();
  uint64_t before = 0;
  do {
    std::pop_heap(candidates_.begin(), rest, worse);
    --rest;
    before += SoftmaxMass(rest->value);
  } while (rest != candidates_.begin() && static_cast<double>(before) < limit);
  candidates_.erase(candidates_.begin(), rest);
}

void TokenSampler::KeepLikely(float min_p) {
  if (!(min_p > 0.0f)) return;
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return ExpNonPositive(candidate.value) < min_p;
  });
}

uint32_t TokenSampler::DrawCandidate(const SamplingRow& row) const {
  BATON_CHECK(!candidates_.empty());
  Candidate best;
  for (const Candidate& candidate : candidates_) {
    const float noise = GumbelNoise(row.seed, row.position, candidate.token_id);
    const Candidate noisy = {candidate.token_id, candidate.value + noise};
    if (&candidate == &candidates_.front() || Better(noisy, best)) best = noisy;
  }
  return best.token_id;
}

void TokenSampler::ScoreFinite(const float* logits, int64_t vocabulary, const RowExtremes& extremes,
                               uint32_t token_id, uint32_t num_top, SampleResult* result) {
  BATON_CHECK(token_id < vocabulary) << "token " << token_id;
  const uint64_t total = kernels_->mass(logits, vocabulary, extremes.largest);
  const double log_total = std::log(static_cast<double>(total) / double{kMassOne});
  const auto logprob = [&](float logit) {
    return static_cast<float>(double{logit} - double{extremes.largest} - log_total);
  };
  const float logit = logits[token_id];
  uint32_t rank = 1;
  for (int64_t i = 0; i < vocabulary; ++i) rank += logits[i] > logit ? 1 : 0;
  for (uint32_t i = 0; i < token_id; ++i) rank += logits[i] == logit ? 1 : 0;
  result->token = {token_id, logprob(logit), rank};
  CollectBest(logits, vocabulary, std::min<size_t>(num_top, vocabulary),
              -std::numeric_limits<float>::infinity());
  std::sort(candidates_.begin(), candidates_.end(), Better);
  result->top.clear();
  for (const Candidate& candidate : candidates_) {
    const uint32_t place = static_cast<uint32_t>(result->top.size()) + 1;
    result->top.push_back({candidate.token_id, logprob(candidate.value), place});
  }
}

}  // namespace baton::kernels::cpu
