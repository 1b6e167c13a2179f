#!/usr/bin/env python3
"""Do API keys get their shares of a busy group?

  tests/bench/fairness.py [--seconds 60] [--shape 1x1] [--keys 4] [--prompt-tokens 256]

A victim alone, a request at a time: its time to the first token. The same victim beside ten times
what the group can do of requests with a key that nobody has, which are turned away: what a flood
takes of the machine, whatever the scheduler does. Beside an aggressor that offers as much: the
figure again, and its ratio to the first. Then `--keys` equal keys, each with more callers than its
share: Jain's index of the tokens that they got (1: all the same; 1/keys: one got everything), and
the spread.

Exits 1 if nothing was answered, and unless the ratio of the 99th percentiles of the victim's first
tokens, beside the aggressor and alone, is at most 1.5, or above it by chance alone, where a refusal
counts as a first token that never comes, and each is one of at least 100; no request of the victim
was refused, beside strangers neither; 95 % of each flood's requests that were due were sent within
its time; strangers got 401 and nothing else, the aggressor answers and 503 and nothing else, and
more of the latter; and Jain's index is at least 0.98. With --no-check, for machines on which others
run, it only says so.

A victim that asks one thing at a time gets some hundred answers in a minute beside an aggressor,
and their 99th percentile is one of the few slowest. So both samples are drawn again a thousand
times, with repetition; 90 % of the ratios lie within the interval that is printed, and a ratio
above 1.5 counts as chance unless the whole interval is above it. It narrows with --seconds.

Where there are more cores than stages one is left to this load, the gateway and the scheduler,
which are on other machines than a stage in a cluster: the stages have the others. It prints what is
left; --flag=--cpu-threads=N says otherwise.
"""

import argparse
import asyncio
import collections
import math
import os
import random
import sys
import tempfile
import time

import load_client
import open_loop
from percentiles import percentile  # on the path since load_client


MOST_RATIO = 1.5   # of the victim's p99, beside an aggressor and alone
LEAST_JAIN = 0.98  # of equal keys
LEAST_SAMPLES = 100  # of fewer the 99th percentile is the slowest
RESAMPLES = 1000
LEAST_IN_TIME = 0.95  # of a flood's requests that were due
TIMES = 10  # what the group can do, of each flood
STRANGER = "nobody's"
ANSWERS = {STRANGER: {401}, "aggressor": {200, 503}}  # to a flood of the key


def first_token(results, key):
    """Seconds of each request; infinite if it was not answered."""
    return [r.first - r.sent if r.complete else math.inf for r in results if r.key == key]


def jain_index(shares):
    return sum(shares) ** 2 / (len(shares) * sum(share * share
                                                 for share in shares)) if any(shares) else 0.0


def ratio_interval(alone, beside):
    """5th and 95th percentile of the ratio of 99th percentiles, `beside` by `alone`, over samples
    that are drawn from them with repetition; nan of none. The same for the same values."""
    if not alone or not beside:
        return math.nan, math.nan
    draw = random.Random(1).choices
    ratios = [percentile(draw(beside, k=len(beside)), .99)
              / percentile(draw(alone, k=len(alone)), .99) for _ in range(RESAMPLES)]
    ratios = [ratio for ratio in ratios if not math.isnan(ratio)]  # infinite by infinite
    return percentile(ratios, .05), percentile(ratios, .95)


def flood_failures(key, results, due, in_time):
    """What is wrong with a flood of the key's requests among `results`, of which `due` were due and
    `in_time` sent in time."""
    wrong = []
    flood = [r for r in results if r.key == key]
    if not due or in_time < LEAST_IN_TIME * due:
        wrong.append(f"{in_time} of {due} requests of the key {key} that were due were sent in "
                     "time")
    # 0: no answer, or one that broke off.
    answers = collections.Counter(r.status if r.status != 200 or r.complete else 0 for r in flood)
    others = {status: count for status, count in sorted(answers.items())
              if status not in ANSWERS[key]}
    if others:
        wrong.append(f"the key {key} got {others} (status: times), not only {sorted(ANSWERS[key])}")
    if answers[200] > answers[503]:
        wrong.append(f"the key {key} had {answers[200]} answers and {answers[503]} refusals: it "
                     "flooded nobody")
    return wrong


def failures(first, floods, jain):
    """What is wrong: first tokens of the victim by company ("alone", "beside the aggressor",
    others), arguments of flood_failures, Jain's index of equal keys."""
    alone, beside = first["alone"], first["beside the aggressor"]
    wrong = [f"{len(values)} first tokens of the victim {name} are too few, of less than "
             f"{LEAST_SAMPLES} "
             "the 99th percentile is the slowest"
             for name, values in (("alone", alone), ("beside the aggressor", beside))
             if len(values) < LEAST_SAMPLES]
    least, _ = ratio_interval(alone, beside)
    if not least <= MOST_RATIO:
        wrong.append(f"the victim's p99 is at least {least:.2f} times its own, not {MOST_RATIO}")
    for name, values in first.items():
        refused = sum(map(math.isinf, values))
        if refused:
            wrong.append(f"{refused} requests of the victim {name} were not answered")
    for flood in floods:
        wrong += flood_failures(*flood)
    if not jain >= LEAST_JAIN:
        wrong.append(f"Jain's index is {jain:.4f}, not {LEAST_JAIN}")
    return wrong


def run(group, arguments, body):
    load = open_loop.OpenLoop(group.port, group.model, arguments.prompt_tokens,
                              arguments.max_tokens)
    before = group.metrics("scheduler")

    async def all_of_it():
        await body(load)
        await load.settle()
        load.close()

    began = time.perf_counter()
    asyncio.run(all_of_it())
    return load, began, (before, group.metrics("scheduler"))


def mean(before, after, name):
    """Mean of what a histogram saw between two readings of metrics."""
    counts = [sum(value for key, value in reading.items() if key.split("{")[0] == f"{name}_{part}")
              for reading in (before, after) for part in ("sum", "count")]
    return (counts[2] - counts[0]) / max(1, counts[3] - counts[1])


def show_first(name, values, before, after):
    print(f"{name}: {sum(map(math.isfinite, values))} answers, first token p50 "
          f"{percentile(values, .5) * 1000:.0f} ms, "
          f"p99 {percentile(values, .99) * 1000:.0f} ms; a step has "
          f"{mean(before, after, 'baton_scheduler_step_sequences'):.1f} sequences and takes "
          f"{mean(before, after, 'baton_scheduler_step_seconds') * 1000:.1f} ms; load average "
          f"{os.getloadavg()[0]:.1f}", flush=True)


def beside_flood(group, arguments, key, rate):
    """A victim at a time beside a flood of the key: the load, readings of metrics."""

    async def both(load):
        await asyncio.gather(load.closed(1, arguments.seconds, "victim"),
                             load.poisson(rate, arguments.seconds, key))

    load, _, steps = run(group, arguments, both)
    return load, steps


def equal_keys(group, arguments, keys):
    """Tokens that each key got of a load of all of them."""

    async def equal(load):
        await asyncio.gather(*(load.closed(12, arguments.seconds, key) for key in keys))

    load, began, _ = run(group, arguments, equal)
    in_time = [r for r in load.results if r.end - began <= arguments.seconds]
    return [sum(r.tokens for r in in_time if r.key == key) for key in keys]


def measure(group, arguments, keys):
    """Measures and prints; what is wrong."""
    seconds = arguments.seconds
    run(group, arguments, lambda load: load.closed(4, 2, "victim"))  # first uses of memory
    solo, _, steps = run(group, arguments, lambda load: load.closed(1, seconds, "victim"))
    first = {"alone": first_token(solo.results, "victim")}
    show_first("victim alone", first["alone"], *steps)
    full, _, _ = run(group, arguments, lambda load: load.closed(32, seconds / 2, "aggressor"))
    rate = TIMES * sum(r.complete for r in full.results) / (seconds / 2)
    if not rate:
        sys.exit("nothing was answered")
    turned_away, steps = beside_flood(group, arguments, STRANGER, rate)
    first["beside strangers"] = first_token(turned_away.results, "victim")
    show_first(f"victim beside {rate:.0f} requests/s with no valid key",
               first["beside strangers"], *steps)
    mixed, steps = beside_flood(group, arguments, "aggressor", rate)
    alone, beside = first["alone"], first_token(mixed.results, "victim")
    first["beside the aggressor"] = beside
    show_first(f"victim beside {rate:.0f} requests/s of another key", beside, *steps)
    least, most = ratio_interval(alone, beside)
    print(f"  ratio of p99: {percentile(beside, .99) / percentile(alone, .99):.2f} "
          f"(90 %: {least:.2f} to {most:.2f}), "
          f"of p50: {percentile(beside, .5) / percentile(alone, .5):.2f}; "
          f"{sum(map(math.isinf, beside))} of the victim's refused; the aggressor had "
          f"{sum(r.key == 'aggressor' and r.complete for r in mixed.results)} answers and "
          f"{sum(r.key == 'aggressor' and r.status == 503 for r in mixed.results)} refusals")
    tokens = equal_keys(group, arguments, keys)
    jain = jain_index(tokens)
    print(f"{arguments.keys} equal keys: tokens {tokens}, Jain's index {jain:.4f}")
    floods = [(key, load.results, load.due, load.in_time)
              for key, load in ((STRANGER, turned_away), ("aggressor", mixed))]
    return failures(first, floods, jain)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each load")
    parser.add_argument("--shape", default="1x1", help="stages x ranks")
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--flag", action="append", default=[],
                        help="passed on to baton serve: --flag=--NAME=VALUE")
    parser.add_argument("--no-check", action="store_true",
                        help="exit 0 whatever came: others use the machine")
    arguments = parser.parse_args()
    stages, ranks = (int(part) for part in arguments.shape.split("x"))
    keys = [f"equal-{i}" for i in range(arguments.keys)]
    flags = load_client.bounded_flags(stages, ranks, arguments.flag)
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(folder, "--no-log-requests", "--api-key", "victim",
                                  "aggressor", *keys, *flags,
                                  stages=stages, ranks=ranks)
        try:
            group.wait_ready()
            wrong = measure(group, arguments, keys)
        finally:
            group.stop()
    for text in wrong:
        print("WRONG " + text)
    sys.exit(1 if wrong and not arguments.no_check else 0)


if __name__ == "__main__":
    main()
