"""Percentiles of few or many figures, the same in tests and benchmarks."""

import math


def percentile(values, share):
    """The value of the nearest rank: the least one that a `share` of all do not exceed; nan of
    none."""
    values = sorted(values)
    # A product like 100 * 0.07 is a little more than the rank that is meant.
    rank = math.ceil(round(len(values) * share, 9))
    return values[max(1, rank) - 1] if values else math.nan
