#!/usr/bin/env python3
"""Speed of the demo model on this machine: start to first token, one stream, idle cost, memory.

  tests/bench/speed.py [--shape 2x8 --shape 1x1] [--tokens 256] [--repeat 5] [--idle 10]

Shapes are stages x ranks. Prints medians; asserts nothing: figures of a busy or throttled machine
mean little. Needs a build (tools/build), no Python packages.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time

import load_client


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one group. Seconds; tokens per second of each run; shares of one core and MiB, each per
    process."""
    ready: float
    start_to_first: float
    rates: list
    first_tokens: list
    idle: dict
    memory: dict


def measure(folder, shape, arguments):
    """Figures of a group of `shape`, "STAGESxRANKS", of its own."""
    stages, ranks = (int(part) for part in shape.split("x"))
    began = time.perf_counter()
    group = load_client.start(folder, *arguments.flag, stages=stages, ranks=ranks)
    try:
        group.wait_ready()
        ready = time.perf_counter() - began
        body = {"model": group.model, "prompt": "What is 17 + 25?", "temperature": 0,
                "ignore_eos": True, "max_tokens": arguments.tokens, "return_token_ids": True}
        first = load_client.stream(group.port, dict(body, max_tokens=1))[0] - began
        rates, firsts = [], []
        for _ in range(arguments.repeat):
            sent = time.perf_counter()
            times = load_client.stream(group.port, body)
            firsts.append(times[0] - sent)
            rates.append((len(times) - 1) / (times[-1] - times[0]))
        time.sleep(1)  # the last request's ends
        before = {name: load_client.cpu_seconds(pid) for name, pid in group.pids.items()}
        time.sleep(arguments.idle)
        idle = {name: (load_client.cpu_seconds(pid) - before[name]) / arguments.idle
                for name, pid in group.pids.items()}
        memory = {name: load_client.rss_mib(pid) for name, pid in group.pids.items()}
    finally:
        group.stop()
    return Figures(ready, first, rates, firsts, idle, memory)


def show(shape, figures):
    rates = figures.rates
    print(f"{shape}: ready {figures.ready:.2f} s, start to first token "
          f"{figures.start_to_first:.2f} s")
    print(f"  one stream: {statistics.median(rates):.0f} tokens/s "
          f"(of {len(rates)}: {min(rates):.0f} to {max(rates):.0f}), "
          f"first token after {statistics.median(figures.first_tokens) * 1000:.1f} ms")
    print(f"  idle: {sum(figures.idle.values()) * 100:.2f} % of one core; "
          + ", ".join(f"{name} {value * 100:.2f} %" for name, value in figures.idle.items()))
    print("  memory, MiB: "
          + ", ".join(f"{name} {value:.0f}" for name, value in figures.memory.items()))


def add_flags(parser):
    parser.add_argument("--shape", action="append", help="stages x ranks; default 2x8 and 1x1")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--idle", type=float, default=10, help="seconds of idleness to measure")
    parser.add_argument("--flag", action="append", default=[], help="passed on to baton serve")


def measured(arguments):
    """(shape, its figures), one after the other."""
    for shape in arguments.shape or ["2x8", "1x1"]:
        with tempfile.TemporaryDirectory() as folder:
            yield shape, measure(folder, shape, arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_flags(parser)
    for shape, figures in measured(parser.parse_args()):
        show(shape, figures)


if __name__ == "__main__":
    main()
