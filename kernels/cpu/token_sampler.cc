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
// Up to this many, noise is drawn one by one; above, for the whole vocabulary in vectors.
constexpr size_t kFewCandidates = 256;

// Value of a token that cannot be drawn: below every other, and without mass.
constexpr float kMasked = -std::numeric_limits<float>::infinity();

bool HasPenalties(const SamplingRow& row) {
  return row.presence_penalty != 0.0f || row.frequency_penalty != 0.0f ||
         row.repetition_penalty != 1.0f;
}

}  // namespace

// Largest value first, ties by lower id.
bool TokenSampler::Better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.token_id < b.token_id;
}

void TokenSampler::MakeRoom(int64_t vocabulary) {
  const auto size = static_cast<size_t>(vocabulary);
  candidates_.reserve(size);
  values_.reserve(size);
  distances_.reserve(size);
  masses_.reserve(size);
  counts_.reserve(size);
}

uint64_t TokenSampler::working_bytes() const {
  return candidates_.capacity() * sizeof(Candidate) + counts_.capacity() * sizeof(uint32_t) +
         (values_.capacity() + distances_.capacity() + masses_.capacity()) * sizeof(float);
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
  if (row.logit_bias.empty() && row.masked_tokens.empty() && !HasPenalties(row) && moderate) {
    return logits;
  }
  values_.assign(logits, logits + vocabulary);
  for (const TokenBias& entry : row.logit_bias) {
    BATON_CHECK(entry.token_id < vocabulary) << "bias of token " << entry.token_id;
    values_[entry.token_id] += entry.bias;
  }
  if (HasPenalties(row)) Penalize(row);
  for (float& value : values_) value = std::clamp(value, -kLargestLogit, kLargestLogit);
  for (uint32_t id : row.masked_tokens) {
    BATON_CHECK(id < vocabulary) << "masked token " << id;
    values_[id] = kMasked;
  }
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
  if (filtered) return DrawFiltered(vocabulary, row);
  return kernels_->draw(distances_.data(), vocabulary, row.seed, row.position).index;
}

uint32_t TokenSampler::DrawFiltered(int64_t vocabulary, const SamplingRow& row) {
  const float* distances = distances_.data();
  if (row.top_k > 0 && row.top_k < vocabulary) {
    CollectBest(distances, vocabulary, row.top_k, kMasked);
  } else if (row.top_p < 1.0f) {
    // Tokens without mass come last, add nothing to the total and never make it.
    CollectBest(distances, vocabulary, vocabulary, kNoMass);
  } else {
    CollectBest(distances, vocabulary, vocabulary, std::log(row.min_p) - kMinPMargin);
  }
  if (row.top_p < 1.0f) {
    masses_.resize(vocabulary);
    kernels_->masses(distances, vocabulary, masses_.data());
    KeepNucleus(row.top_p);
  }
  KeepLikely(row.min_p);
  return DrawCandidate(vocabulary, row);
}

uint32_t TokenSampler::DrawAllowed(const float* values, int64_t vocabulary,
                                   const SamplingRow& row) {
  candidates_.clear();
  for (uint32_t id : row.allowed_tokens) {
    BATON_CHECK(id < vocabulary) << "allowed token " << id;
    if (values[id] > kMasked) candidates_.push_back({id, values[id]});
  }
  BATON_CHECK(!candidates_.empty()) << "every allowed token is masked";
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
  if (row.top_p < 1.0f) {
    masses_.resize(vocabulary);
    for (const Candidate& candidate : candidates_) {
      masses_[candidate.token_id] = ExpNonPositive(candidate.value) * kMassOne;
    }
    KeepNucleus(row.top_p);
  }
  KeepLikely(row.min_p);
  return DrawCandidate(vocabulary, row);
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

// Of candidates [begin, end).
uint64_t TokenSampler::MassOf(size_t begin, size_t end) const {
  uint64_t total = 0;
  for (size_t i = begin; i < end; ++i) {
    total += static_cast<uint64_t>(masses_[candidates_[i].token_id]);
  }
  return total;
}

void TokenSampler::KeepNucleus(float top_p) {
  const double limit = double{top_p} * static_cast<double>(MassOf(0, candidates_.size()));
  // Finds the end of the nucleus as quickselect finds a median: candidates before `begin` are in
  // it and hold `before`, candidates from `end` on are not.
  size_t begin = 0;
  size_t end = candidates_.size();
  uint64_t before = 0;
  while (end - begin > 1 && static_cast<double>(before) < limit) {
    std::swap(candidates_[begin + (end - begin) / 2], candidates_[begin]);
    const Candidate pivot = candidates_[begin];
    const auto middle =
        std::partition(candidates_.begin() + begin + 1, candidates_.begin() + end,
                       [&](const Candidate& candidate) { return Better(candidate, pivot); });
    const size_t place = middle - candidates_.begin() - 1;
    std::swap(candidates_[begin], candidates_[place]);
    const uint64_t better = MassOf(begin, place);
    if (static_cast<double>(before + better) >= limit) {
      end = place;
    } else {
      before += better + MassOf(place, place + 1);
      begin = place + 1;
    }
  }
  if (begin < end && static_cast<double>(before) < limit) ++begin;
  candidates_.resize(begin);
}

void TokenSampler::KeepLikely(float min_p) {
  if (!(min_p > 0.0f)) return;
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return ExpNonPositive(candidate.value) < min_p;
  });
}

uint32_t TokenSampler::DrawCandidate(int64_t vocabulary, const SamplingRow& row) {
  BATON_CHECK(!candidates_.empty());
  if (candidates_.size() > kFewCandidates) {
    distances_.assign(vocabulary, kMasked);
    for (const Candidate& candidate : candidates_) {
      distances_[candidate.token_id] = candidate.value;
    }
    return kernels_->draw(distances_.data(), vocabulary, row.seed, row.position).index;
  }
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
