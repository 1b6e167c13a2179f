#!/usr/bin/env python3
"""Many short requests, every tenth hung up on: does memory grow?

  tests/bench/soak.py [--requests 10000] [--concurrency 8] [--stages 2] [--ranks 2]
                      [--bytes-per-request 256]

Looks at each process's resident memory after a tenth of the requests, then 30 times until the end,
each time when none is under way. Prints it at both ends, with the bytes that it grows by per
request, and the KV blocks in use. Exits 1 if a request fails, a process grows by more per request
than it may, or something is held for a request in the end.
"""

import argparse
import concurrent.futures
import itertools
import math
import random
import statistics
import sys
import tempfile
import time

import load_client


CHECKPOINTS = 30

# Of a process, by default. What is kept for each request, if only a string of its id and an entry
# of a map, takes more; pages that an allocator takes once and keeps, over 9,000 requests, less.
BYTES_PER_REQUEST = 256


def slope(points):
    """MiB per request of [(requests so far, MiB)]: the median of the slopes between any two
    points, which points out of line do not sway."""
    return statistics.median((mib - earlier_mib) / (requests - earlier)
                             for (earlier, earlier_mib), (requests, mib)
                             in itertools.combinations(points, 2))


def growth(points):
    """Bytes per request: the lesser of the slopes of the first and of the last three fifths. What
    is kept for each request shows in both; one step, wherever it is, not in both."""
    part = max(2, math.ceil(len(points) * 0.6))
    return 2**20 * min(slope(points[:part]), slope(points[-part:]))


def grown(memory, bound):
    """Complaints about {process: [(requests so far, MiB)]}."""
    return [f"{name} grows by {growth(points):.0f} bytes per request, more than {bound:g}"
            for name, points in memory.items() if growth(points) > bound]


def checkpoints(requests):
    """The warm-up's end, then places up to `requests` at equal distances; three at least."""
    warm = requests // 10
    places = sorted({warm + (requests - warm) * step // CHECKPOINTS
                     for step in range(CHECKPOINTS + 1)})
    if warm == 0 or len(places) < 3:
        raise ValueError(f"{requests} requests are too few to see memory grow")
    return places


def request(group, number):
    generator = random.Random(number)
    body = {"model": group.model, "temperature": 0.7, "seed": number,
            "prompt": [generator.randrange(300, 1000) for _ in range(generator.randrange(4, 80))],
            "max_tokens": generator.randrange(2, 12), "ignore_eos": True}
    load_client.stream(group.port, body, stop_after=1 if number % 10 == 0 else None)


def run(group, numbers, concurrency):
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        for done in concurrent.futures.as_completed(
                [pool.submit(request, group, number) for number in numbers]):
            if done.exception() is not None:
                failures += 1
                if failures <= 5:
                    print("failed:", done.exception())
    return failures


def memory(group):
    return {name: load_client.rss_mib(pid) for name, pid in group.pids.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--bytes-per-request", type=float, default=BYTES_PER_REQUEST,
                        help="that a process may grow by")
    arguments = parser.parse_args()
    try:
        warm, *places = checkpoints(arguments.requests)
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as folder:
        # So few blocks that the warm-up touches each: later growth is no first use of the KV cache.
        group = load_client.start(folder, "--num-gpu-blocks-override", "96",
                                  stages=arguments.stages, ranks=arguments.ranks)
        try:
            group.wait_ready()
            failures = run(group, range(warm), arguments.concurrency)
            seen = {name: [(warm, mib)] for name, mib in memory(group).items()}
            began = time.perf_counter()
            for begin, end in itertools.pairwise([warm, *places]):
                failures += run(group, range(begin, end), arguments.concurrency)
                for name, mib in memory(group).items():
                    seen[name].append((end, mib))
            seconds = time.perf_counter() - began
            left = group.leftovers()
            kv = {name: value for name, value in group.metrics("scheduler").items()
                  if "block" in name}
        finally:
            group.stop()
    print(f"{arguments.requests} requests, {failures} failed, "
          f"{(arguments.requests - warm) / seconds:.1f} requests/s")
    for name, points in seen.items():
        print(f"  {name}: {points[0][1]:.1f} MiB after {warm} requests, {points[-1][1]:.1f} MiB at "
              f"the end, {growth(points):.0f} bytes per request")
    for name, value in kv.items():
        print(f"  {name} {value:g}")
    wrong = grown(seen, arguments.bytes_per_request)
    for complaint in wrong:
        print(complaint)
    if left:
        print(f"left behind: {left}")
    sys.exit(1 if failures or wrong or left else 0)


if __name__ == "__main__":
    main()
