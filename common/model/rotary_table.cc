#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/log/check.h"
#include "common/model/model_config.h"

namespace baton {
namespace {

// Of DeepSeek's published code: the amplitude that YaRN adds for a stretch of `factor`.
double YarnAmplitude(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// Pair index (fractional) whose wavelength turns `rotations` times within the original context.
double CorrectionPair(const ModelConfig& config, double rotations) {
  const double dims = static_cast<double>(config.qk_rope_head_dim);
  const double positions = static_cast<double>(config.yarn.original_max_positions);
  return dims * std::log(positions / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(config.rope_theta));
}

// Radians per position of each pair. Rounded to float at the same places as the published code:
// an angle is a float position times a float frequency, so at long contexts these bits matter.
std::vector<float> PairFrequencies(const ModelConfig& config) {
  const int64_t dims = config.qk_rope_head_dim;
  std::vector<float> frequencies(static_cast<size_t>(dims / 2));
  double low = 0.0;
  double high = 0.0;
  if (config.has_yarn) {
    low = std::max(std::floor(CorrectionPair(config, config.yarn.beta_fast)), 0.0);
    high = std::min(std::ceil(CorrectionPair(config, config.yarn.beta_slow)),
                    static_cast<double>(dims - 1));
    if (low == high) high += 0.001;  // as published: avoids the division by zero
  }
  for (size_t pair = 0; pair < frequencies.size(); ++pair) {
    const float exponent = static_cast<float>(2 * pair) / static_cast<float>(dims);
    const float power = std::pow(static_cast<float>(config.rope_theta), exponent);
    const float original = 1.0f / power;
    if (!config.has_yarn) {
      frequencies[pair] = original;
      continue;
    }
    const float stretched = 1.0f / (static_cast<float>(config.yarn.factor) * power);
    const float ramp = std::clamp(
        (static_cast<float>(pair) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float kept = 1.0f - ramp;
    frequencies[pair] = stretched * (1.0f - kept) + original * kept;
  }
  return frequencies;
}

}  // namespace

double YarnScaling::rotary_amplitude() const {
  return YarnAmplitude(factor, mscale) / YarnAmplitude(factor, mscale_all_dim);
}

double ModelConfig::attention_scale() const {
  double scale = 1.0 / std::sqrt(static_cast<double>(qk_head_dim()));
  if (has_yarn && yarn.mscale_all_dim != 0.0) {
    const double amplitude = YarnAmplitude(yarn.factor, yarn.mscale_all_dim);
    scale *= amplitude * amplitude;
  }
  return scale;
}

std::vector<float> BuildRotaryTable(const ModelConfig& config, int64_t max_positions) {
  BATON_CHECK(max_positions >= 0 && max_positions <= config.max_positions)
      << max_positions << " positions of " << config.max_positions;
  const std::vector<float> frequencies = PairFrequencies(config);
  const float amplitude =
      config.has_yarn ? static_cast<float>(config.yarn.rotary_amplitude()) : 1.0f;
  std::vector<float> table(static_cast<size_t>(max_positions) * frequencies.size() * 2);
  float* out = table.data();
  for (int64_t position = 0; position < max_positions; ++position) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<double>(static_cast<float>(position) * frequency);
      *out++ = static_cast<float>(std::cos(angle)) * amplitude;
      *out++ = static_cast<float>(std::sin(angle)) * amplitude;
    }
  }
  return table;
}

}  // namespace baton
