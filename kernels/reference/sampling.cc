#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <vector>

#include "common/log/check.h"
#include "kernels/api/reproducible_math.h"
#include "kernels/reference/reference_ops.h"

namespace baton::kernels {
namespace {

// A token that may still be drawn.
struct Candidate {
  uint32_t token_id = 0;
  float value = 0.0f;  // logit, penalised; later its distance to the largest
};

// Largest value first, ties by lower id.
bool Better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.token_id < b.token_id;
}

bool AllFinite(const float* logits, int64_t size) {
  return std::all_of(logits, logits + size, [](float value) { return std::isfinite(value); });
}

void ApplyPenalties(const SamplingRow& row, std::vector<float>* values) {
  std::map<uint32_t, int> answer_counts;
  std::map<uint32_t, int> seen;
  for (uint32_t id : row.prompt_tokens) ++seen[id];
  for (uint32_t id : row.answer_tokens) {
    ++seen[id];
    ++answer_counts[id];
  }
  for (const auto& [id, count] : seen) {
    float& value = values->at(id);
    value = value > 0.0f ? value / row.repetition_penalty : value * row.repetition_penalty;
  }
  for (const auto& [id, count] : answer_counts) {
    values->at(id) -= row.frequency_penalty * static_cast<float>(count);
    values->at(id) -= row.presence_penalty;
  }
  for (float& value : *values) value = std::clamp(value, -kLargestLogit, kLargestLogit);
}

bool Contains(std::span<const uint32_t> tokens, uint32_t token_id) {
  return std::find(tokens.begin(), tokens.end(), token_id) != tokens.end();
}

// Steps 1 and 2: the tokens that take part, best first.
std::vector<Candidate> MakeCandidates(const float* logits, int64_t vocabulary,
                                      const SamplingRow& row) {
  std::vector<float> values(logits, logits + vocabulary);
  for (const TokenBias& entry : row.logit_bias) values.at(entry.token_id) += entry.bias;
  ApplyPenalties(row, &values);
  std::vector<Candidate> candidates;
  for (uint32_t id = 0; id < vocabulary; ++id) {
    const bool allowed = row.allowed_tokens.empty() || Contains(row.allowed_tokens, id);
    if (allowed && !Contains(row.masked_tokens, id)) candidates.push_back({id, values[id]});
  }
  std::sort(candidates.begin(), candidates.end(), Better);
  return candidates;
}

// Step 4: values become distances to the largest.
void Scale(float temperature, std::vector<Candidate>* candidates) {
  for (Candidate& candidate : *candidates) candidate.value /= temperature;
  const float largest = candidates->front().value;
  for (Candidate& candidate : *candidates) candidate.value -= largest;
  // Equal after rounding: ids decide again.
  std::sort(candidates->begin(), candidates->end(), Better);
}

// Steps 5 to 7.
void Filter(const SamplingRow& row, std::vector<Candidate>* candidates) {
  if (row.top_k > 0 && row.top_k < candidates->size()) candidates->resize(row.top_k);
  if (row.top_p < 1.0f) {
    uint64_t total = 0;
    for (const Candidate& candidate : *candidates) total += SoftmaxMass(candidate.value);
    const double limit = double{row.top_p} * static_cast<double>(total);
    uint64_t before = 0;
    size_t kept = 0;
    while (kept < candidates->size() && static_cast<double>(before) < limit) {
      before += SoftmaxMass((*candidates)[kept].value);
      ++kept;
    }
    candidates->resize(std::max<size_t>(kept, 1));
  }
  if (row.min_p > 0.0f) {
    std::erase_if(*candidates, [&](const Candidate& candidate) {
      return ExpNonPositive(candidate.value) < row.min_p;
    });
  }
}

uint32_t Draw(const float* logits, int64_t vocabulary, const SamplingRow& row) {
  std::vector<Candidate> candidates = MakeCandidates(logits, vocabulary, row);
  BATON_CHECK(!candidates.empty()) << "no token is allowed";
  if (row.temperature < kGreedyTemperature) return candidates.front().token_id;
  Scale(row.temperature, &candidates);
  Filter(row, &candidates);
  for (Candidate& candidate : candidates) {
    candidate.value += GumbelNoise(row.seed, row.position, candidate.token_id);
  }
  return std::min_element(candidates.begin(), candidates.end(), Better)->token_id;
}

// Log-probability of one token and the best `num_top`, of the raw logits.
void Score(const float* logits, int64_t vocabulary, uint32_t token_id, uint32_t num_top,
           SampleResult* result) {
  std::vector<Candidate> order;
  for (uint32_t id = 0; id < vocabulary; ++id) order.push_back({id, logits[id]});
  std::sort(order.begin(), order.end(), Better);
  const float largest = order[0].value;
  uint64_t total = 0;
  for (const Candidate& candidate : order) total += SoftmaxMass(candidate.value - largest);
  const double log_total = std::log(static_cast<double>(total) / double{kMassOne});
  result->top.clear();
  for (uint32_t i = 0; i < vocabulary; ++i) {
    const double logprob = double{order[i].value} - double{largest} - log_total;
    const TokenScore score = {order[i].token_id, static_cast<float>(logprob), i + 1};
    if (i < num_top) result->top.push_back(score);
    if (order[i].token_id == token_id) result->token = score;
  }
}

}  // namespace

void ReferenceOps::Sample(const SampleArgs& args) {
  const int64_t vocabulary = args.logits.columns;
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    const float* logits = args.logits.Row<float>(r);
    const SamplingRow& row = args.rows[r];
    SampleResult& result = args.results[r];
    result = {};
    result.finite = AllFinite(logits, vocabulary);
    if (!result.finite) continue;
    result.token_id = Draw(logits, vocabulary, row);
    if (row.logprobs) {
      Score(logits, vocabulary, result.token_id, row.num_top_logprobs, &result);
    }
  }
}

void ReferenceOps::ScoreTokens(const ScoreTokensArgs& args) {
  const int64_t vocabulary = args.logits.columns;
  for (int64_t r = 0; r < args.logits.rows; ++r) {
    const float* logits = args.logits.Row<float>(r);
    SampleResult& result = args.results[r];
    result = {};
    result.token_id = args.targets[r];
    result.finite = AllFinite(logits, vocabulary);
    if (result.finite) Score(logits, vocabulary, args.targets[r], args.num_top, &result);
  }
}

}  // namespace baton::kernels
