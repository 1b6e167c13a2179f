#!/usr/bin/env python3
"""What a step ordered ahead of its tokens is worth: --lookahead-steps 0 beside 1, asked in turns.

  tests/bench/gap.py [--shape 1x1 --shape 2x8 --shape 2x1] [--streams 1 --streams 8]
                     [--tokens 256] [--repeat 7]

Prints medians over the turns: tokens/s of all streams together, and each stage's idle time between
two steps while sequences ran (baton_stage_gap_seconds; p50 and p99 within the histogram's buckets).
Asserts nothing. Needs a build.
"""

import argparse
import math
import statistics
import tempfile

import load_client

METRIC = "baton_stage_gap_seconds_bucket"


def buckets(group, stage):
    """{upper bound in seconds: observations up to it} of the stage's gaps so far."""
    counts = {}
    for name, value in group.metrics(stage).items():
        if name.startswith(METRIC):
            counts[float(name.split('le="')[1].split('"')[0].replace("+Inf", "inf"))] = value
    return counts


def quantile(counts, share):
    """The value below which `share` of the observations lie, linear within its bucket."""
    total = counts[math.inf]
    lower, seen = 0.0, 0.0
    for bound in sorted(counts):
        if total > 0 and counts[bound] >= share * total:
            inside = counts[bound] - seen
            part = (share * total - seen) / inside
            return lower if math.isinf(bound) else lower + (bound - lower) * part
        lower, seen = bound, counts[bound]
    return math.nan


def ask(group, num_streams, tokens):
    """Tokens per second of `num_streams` requests at a time."""
    body = {"model": group.model, "prompt": "What is 17 + 25?", "temperature": 0,
            "ignore_eos": True,
            "max_tokens": tokens, "return_token_ids": True}
    return load_client.rate(group.port, [body] * num_streams)


class Side:
    """One of the two groups and what was measured of it."""

    def __init__(self, folder, lookahead, stages, ranks, flags):
        self.name = f"lookahead {lookahead}"
        self.group = load_client.start(f"{folder}/{lookahead}", "--lookahead-steps",
                                       str(lookahead), *flags,
                                       stages=stages, ranks=ranks)
        self.stages = [f"stage-worker-{index}" for index in range(stages)]

    def begin(self):
        self.rates = []
        self.before = {stage: buckets(self.group, stage) for stage in self.stages}
        self.cpu_before = self.cpu()

    def cpu(self):
        return sum(load_client.cpu_seconds(pid) for pid in self.group.pids.values())

    def report(self, num_tokens):
        gaps = []
        for stage in self.stages:
            now = buckets(self.group, stage)
            counts = {bound: now[bound] - self.before[stage].get(bound, 0) for bound in now}
            gaps.append(f"{quantile(counts, 0.5) * 1e6:.0f}/{quantile(counts, 0.99) * 1e6:.0f}")
        cpu = (self.cpu() - self.cpu_before) / num_tokens * 1000
        print(f"    {self.name}: {statistics.median(self.rates):.0f} tokens/s "
              f"({min(self.rates):.0f} to "
              f"{max(self.rates):.0f}), gap p50/p99 by stage: {', '.join(gaps)} us, {cpu:.2f} ms "
              "of processor a token")


def measure(folder, shape, arguments):
    stages, ranks = (int(part) for part in shape.split("x"))
    sides = [Side(folder, lookahead, stages, ranks, arguments.flag) for lookahead in (0, 1)]
    try:
        for side in sides:
            side.group.wait_ready()
            ask(side.group, 1, 16)
            load_client.await_idle(side.group)
        print(f"{shape}:")
        for num_streams in arguments.streams or [1, 8]:
            load_client.measure_in_turns(
                sides, arguments.repeat,
                lambda group, _, count=num_streams: ask(group, count, arguments.tokens))
            print(f"  {num_streams} streams:", flush=True)
            for side in sides:
                side.report(arguments.repeat * num_streams * arguments.tokens)
    finally:
        for side in sides:
            side.group.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", help="stages x ranks; default 1x1, 2x8 and 2x1")
    parser.add_argument("--streams", action="append", type=int,
                        help="requests at a time; default 1 and 8")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--flag", action="append", default=[], help="passed on to baton serve")
    arguments = parser.parse_args()
    for shape in arguments.shape or ["1x1", "2x8", "2x1"]:
        with tempfile.TemporaryDirectory() as folder:
            measure(folder, shape, arguments)


if __name__ == "__main__":
    main()
