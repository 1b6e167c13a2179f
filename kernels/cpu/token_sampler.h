// Draws tokens from rows of logits and scores them; see kernels/api/sampling.h for the steps.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api/sampling.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {

// Keeps working memory between rows. Threads: one at a time.
class TokenSampler {
 public:
  // `kernels` must outlive it.
  explicit TokenSampler(const VariantKernels& kernels) : kernels_(&kernels) {}

  void Sample(const float* logits, int64_t vocabulary, const SamplingRow& row,
              SampleResult* result);
  void Score(const float* logits, int64_t vocabulary, uint32_t target, uint32_t num_top,
             SampleResult* result);

  // For every row of so many logits.
  void MakeRoom(int64_t vocabulary);
  uint64_t working_bytes() const;

 private:
  struct Candidate {
    uint32_t token_id = 0;
    float value = 0.0f;
  };
  static bool Better(const Candidate& a, const Candidate& b);

  const float* Adjust(const float* logits, int64_t vocabulary, const SamplingRow& row,
                      bool moderate);
  void Penalize(const SamplingRow& row);
  uint32_t Draw(const float* values, int64_t vocabulary, const SamplingRow& row,
                const RowExtremes& extremes);
  uint32_t DrawAllowed(const float* values, int64_t vocabulary, const SamplingRow& row);
  uint32_t DrawFiltered(int64_t vocabulary, const SamplingRow& row);
  uint32_t DrawCandidate(int64_t vocabulary, const SamplingRow& row);
  // The best `count` of the values above `floor`, in no order.
  void CollectBest(const float* values, int64_t vocabulary, size_t count, float floor);
  // Candidates' masses must stand in masses_, by id. Leaves the candidates in no order.
  void KeepNucleus(float top_p);
  void KeepLikely(float min_p);
  uint64_t MassOf(size_t begin, size_t end) const;
  void ScoreFinite(const float* logits, int64_t vocabulary, const RowExtremes& extremes,
                   uint32_t token_id, uint32_t num_top, SampleResult* result);

  const VariantKernels* kernels_;
  std::vector<Candidate> candidates_;
  std::vector<float> values_;     // logits with biases and penalties
  std::vector<float> distances_;  // [vocabulary] to the largest, after temperature
  std::vector<float> masses_;     // [vocabulary]
  std::vector<uint32_t> counts_;  // [vocabulary], zero between rows
};

}  // namespace baton::kernels::cpu
