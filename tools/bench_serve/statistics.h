// Mean, deviation and percentiles, as numpy computes them.
#pragma once

#include <vector>

namespace baton::bench {

// 0 of nothing.
double Mean(const std::vector<double>& values);
// Of the whole population.
double StandardDeviation(const std::vector<double>& values);
// `percent` from 0 to 100, with linear interpolation between neighbours; 0 of nothing.
double Percentile(std::vector<double> values, double percent);

}  // namespace baton::bench
