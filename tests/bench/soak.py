#!/usr/bin/env python3
"""Many short requests, every tenth hung up on: does memory grow?

  tests/bench/soak.py [--requests 10000] [--concurrency 8] [--stages 2] [--ranks 2]

Prints each process's resident memory after a tenth of the requests and at the end, and the KV
blocks in use. Exits 1 if a request fails, a process grew by more than a tenth and 8 MiB, or
something is held for a request in the end.
"""

import argparse
import concurrent.futures
import random
import sys
import tempfile
import time

import load_client


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
    arguments = parser.parse_args()
    warm = arguments.requests // 10
    with tempfile.TemporaryDirectory() as folder:
        # So few blocks that the warm-up touches each: later growth is no first use of the KV cache.
        group = load_client.start(folder, "--num-gpu-blocks-override", "96",
                                  stages=arguments.stages, ranks=arguments.ranks)
        try:
            group.wait_ready()
            failures = run(group, range(warm), arguments.concurrency)
            before = memory(group)
            began = time.perf_counter()
            failures += run(group, range(warm, arguments.requests), arguments.concurrency)
            seconds = time.perf_counter() - began
            left = group.leftovers()
            after = memory(group)
            kv = {name: value for name, value in group.metrics("scheduler").items()
                  if "block" in name}
        finally:
            group.stop()
    print(f"{arguments.requests} requests, {failures} failed, "
          f"{(arguments.requests - warm) / seconds:.1f} requests/s")
    grown = []
    for name, mib in after.items():
        print(f"  {name}: {before[name]:.1f} MiB after {warm} requests, {mib:.1f} MiB at the end")
        if mib > before[name] * 1.1 and mib > before[name] + 8:
            grown.append(name)
    for name, value in kv.items():
        print(f"  {name} {value:g}")
    if grown:
        print("grew: " + ", ".join(grown))
    if left:
        print(f"left behind: {left}")
    sys.exit(1 if failures or grown or left else 0)


if __name__ == "__main__":
    main()
