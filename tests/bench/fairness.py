#!/usr/bin/env python3
"""Do API keys get their shares of a busy group?

  tests/bench/fairness.py [--seconds 40] [--shape 1x1] [--keys 4] [--prompt-tokens 256]

A victim alone, a request at a time: its time to the first token. The same victim beside ten times
what the group can do of requests with a key that nobody has, which are turned away: what a flood
takes of the machine, whatever the scheduler does. Beside an aggressor that offers as much: the
figure again, and its ratio to the first. Then `--keys` equal keys, each with more callers than its
share: Jain's index of the tokens that they got (1: all the same; 1/keys: one got everything), and
the spread.

Exits 1 if nothing was answered, and unless the ratio of the 99th percentiles of the victim's first
tokens, beside the aggressor and alone, is at most 1.5, where a refusal counts as a first token that
never comes, and each is one of at least 100; no request of the victim was refused, beside strangers
neither; each flood was offered, to 95 %; strangers got 401 and nothing else, the aggressor answers
and 503 and nothing else, and more of the latter; and Jain's index is at least 0.98. With
--no-check, for machines on which others run, it only says so.

Where there are more cores than stages one is left to this load, the gateway and the scheduler,
which are on other machines than a stage in a cluster: the stages have the others. It prints what is
left; --flag=--cpu-threads=N says otherwise.
"""

import argparse
import asyncio
import collections
import math
import os
import sys
import tempfile
import time

import load_client
import open_loop
from percentiles import percentile  # on the path since load_client


MOST_RATIO = 1.5   # of the victim's p99, beside an aggressor and alone
LEAST_JAIN = 0.98  # of equal keys
LEAST_SAMPLES = 100  # of fewer the 99th percentile is the slowest
LEAST_OFFERED = 0.95  # of a flood that was asked for
TIMES = 10  # what the group can do, of each flood
STRANGER = "nobody's"
ANSWERS = {STRANGER: {401}, "aggressor": {200, 503}}  # to a flood of the key


def first_token(results, key):
    """Seconds of each request; infinite if it was not answered."""
    return [r.first - r.sent if r.complete else math.inf for r in results if r.key == key]


def jain_index(shares):
    return sum(shares) ** 2 / (len(shares) * sum(share * share
                                                 for share in shares)) if any(shares) else 0.0


def flood_failures(key, results, wanted, seconds):
    """What is wrong with a flood of the key's requests among `results`: `wanted` a second for
    `seconds`."""
    wrong = []
    flood = [r for r in results if r.key == key]
    sent = [r.sent for r in flood] or [0.0]
    offered = len(flood) / max(seconds, max(sent) - min(sent))
    if offered < LEAST_OFFERED * wanted:
        wrong.append(f"{offered:.0f} requests/s of the key {key} were offered, not {wanted:.0f}")
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
    ratio = percentile(beside, .99) / percentile(alone, .99)
    if not ratio <= MOST_RATIO:
        wrong.append(f"the victim's p99 is {ratio:.2f} times its own, not {MOST_RATIO}")
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
    return load.results, began, (before, group.metrics("scheduler"))


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
    """A victim at a time beside a flood of the key: results, readings of metrics."""

    async def both(load):
        await asyncio.gather(load.closed(1, arguments.seconds, "victim"),
                             load.poisson(rate, arguments.seconds, key))

    results, _, steps = run(group, arguments, both)
    return results, steps


def equal_keys(group, arguments, keys):
    """Tokens that each key got of a load of all of them."""

    async def equal(load):
        await asyncio.gather(*(load.closed(12, arguments.seconds, key) for key in keys))

    results, began, _ = run(group, arguments, equal)
    return [sum(r.tokens for r in results if r.key == key and r.end - began <= arguments.seconds)
            for key in keys]


def measure(group, arguments, keys):
    """Measures and prints; what is wrong."""
    seconds = arguments.seconds
    run(group, arguments, lambda load: load.closed(4, 2, "victim"))  # first uses of memory
    solo, _, steps = run(group, arguments, lambda load: load.closed(1, seconds, "victim"))
    first = {"alone": first_token(solo, "victim")}
    show_first("victim alone", first["alone"], *steps)
    full, _, _ = run(group, arguments, lambda load: load.closed(32, seconds / 2, "aggressor"))
    rate = TIMES * sum(r.complete for r in full) / (seconds / 2)
    if not rate:
        sys.exit("nothing was answered")
    turned_away, steps = beside_flood(group, arguments, STRANGER, rate)
    first["beside strangers"] = first_token(turned_away, "victim")
    show_first(f"victim beside {rate:.0f} requests/s with no valid key",
               first["beside strangers"], *steps)
    mixed, steps = beside_flood(group, arguments, "aggressor", rate)
    alone, beside = first["alone"], first_token(mixed, "victim")
    first["beside the aggressor"] = beside
    show_first(f"victim beside {rate:.0f} requests/s of another key", beside, *steps)
    print(f"  ratio of p99: {percentile(beside, .99) / percentile(alone, .99):.2f}, "
          f"of p50: {percentile(beside, .5) / percentile(alone, .5):.2f}; "
          f"{sum(map(math.isinf, beside))} of the victim's refused; the aggressor had "
          f"{sum(r.key == 'aggressor' and r.complete for r in mixed)} answers and "
          f"{sum(r.key == 'aggressor' and r.status == 503 for r in mixed)} refusals")
    tokens = equal_keys(group, arguments, keys)
    jain = jain_index(tokens)
    print(f"{arguments.keys} equal keys: tokens {tokens}, Jain's index {jain:.4f}")
    return failures(first, [(STRANGER, turned_away, rate, seconds), ("aggressor", mixed, rate,
                                                                     seconds)], jain)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="of each load")
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
