#!/usr/bin/env python3
"""One page of the demo model's figures on this machine, as markdown: results/demo_model.md.

  tests/bench/demo_results.py [--loader] [--soak REQUESTS] [--build] [flags of speed.py] >PAGE

Always: what speed.py measures. --loader: the model-loader beside plain reads (a minute or two).
--soak: soak.py with so many requests (minutes). --build: a build from nothing and builds after one
changed source, of what HEAD has, without a compiler's cache (half an hour on two cores). What was
not asked for is left out of the page; a part that fails is named there, and the exit status is 1.
Nothing else should run meanwhile. Needs a build (tools/build), no Python packages.
"""

import argparse
import datetime
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import speed

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parents[1]
LOADER_LINE = re.compile(r"(cold|warm) (.+?)\s+([\d.]+) GB/s .* ([\d.]+) of plain x1")
# One source of each service, near its top: what a change there costs.
CHANGED = ("services/gateway/calls/chat_completions_call.cc", "services/scheduler/core/schedule.cc",
           "services/stage_worker/model/attention_block.cc",
           "services/model_loader/shard/read_plan.cc")


class Complaint(Exception):
    """A part of the page that says itself what is wrong."""


def table(head, rows, texts=1):
    """Markdown; the first columns, `texts` of them, are text, the others numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def processor(cpuinfo):
    """"Name, 2 threads" of /proc/cpuinfo's text."""
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return f"{names[0] if names else 'unknown processor'}, {len(os.sched_getaffinity(0))} threads"


def spread(values, digits=0):
    """"median (least to most)"."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} to {max(values):.{digits}f})")


def speed_part(measured):
    """`measured`: (shape, speed.Figures)."""
    rows, memory = [], []
    for shape, figures in measured:
        rows.append([shape, f"{figures.ready:.2f}", f"{figures.start_to_first:.2f}",
                     spread(figures.rates),
                     spread([1000 * first for first in figures.first_tokens], 1),
                     f"{100 * sum(figures.idle.values()):.2f}"])
        memory += [[shape, name, f"{mib:.0f}", f"{100 * figures.idle[name]:.2f}"]
                   for name, mib in figures.memory.items()]
    return "\n\n".join([
        "## Speed",
        table(["stages x ranks", "ready, s", "start to first token, s", "one stream, tokens/s",
               "first token, ms", "idle, % of one core"], rows),
        "## Memory and idle time of each process",
        table(["stages x ranks", "process", "resident, MiB", "idle, % of one core"], memory, 2)])


def loader_part(text):
    """`text`: what loader_bench prints. ValueError: a side is missing."""
    rates = {(how, side): (rate, ratio) for how, side, rate, ratio in LOADER_LINE.findall(text)}
    rows = []
    for side in ("plain x1", "plain x4", "read", "send tcp", "send sm", "lend"):
        cells = [rates.get((how, side)) for how in ("cold", "warm")]
        if None in cells:
            raise ValueError(f"loader_bench says nothing of {side}:\n{text}")
        rows.append([side] + [cell for pair in cells for cell in pair])
    return "\n\n".join(["## Model-loader", "Ratios are to a plain read by one thread, in turns.",
                         table(["side", "cold, GB/s", "ratio", "warm, GB/s", "ratio"], rows)])


def run_loader():
    bench = ROOT / "build/release/bench/loader_bench"
    return loader_part(subprocess.run([bench], capture_output=True, text=True, check=True).stdout)


def run_soak(requests):
    done = subprocess.run([sys.executable, BENCH / "soak.py", "--requests", str(requests)],
                          capture_output=True, text=True, check=False)
    if not done.stdout:
        raise ValueError(f"soak.py: {done.stderr}")
    return soak_part(requests, done.stdout, done.returncode)


def soak_part(requests, text, status):
    """What soak.py said, its complaints too. Complaint: it had some."""
    page = f"## Soak of {requests} requests\n\n```\n{text}```"
    if status != 0:
        raise Complaint(page)
    return page


def seconds_of(*command):
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env=dict(os.environ, CCACHE_DISABLE="1"))
    if done.returncode != 0:
        raise ValueError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


def run_build():
    """Of a copy of HEAD, so that nothing of this tree's build is used or spoilt."""
    with tempfile.TemporaryDirectory() as folder:
        source, build = pathlib.Path(folder, "baton"), pathlib.Path(folder, "baton/build/release")
        source.mkdir()
        archive = subprocess.Popen(["git", "-C", ROOT, "archive", "HEAD"], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
        if archive.wait() != 0:
            raise ValueError("git archive HEAD failed")
        compile_all = ("cmake", "--build", build, "--parallel", str(len(os.sched_getaffinity(0))))
        clean = seconds_of("cmake", "-S", source, "--preset", "release") + seconds_of(*compile_all)
        rows = [["everything, from nothing", f"{clean / 60:.1f} min"],
                ["nothing changed", f"{seconds_of(*compile_all):.1f} s"]]
        for path in CHANGED:
            (source / path).touch()
            rows.append([f"`{path}` changed", f"{seconds_of(*compile_all):.1f} s"])
    return "\n\n".join(["## Builds", "Preset release, all targets, no compiler's cache.",
                         table(["build", "time"], rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    speed.add_flags(parser)
    parser.add_argument("--loader", action="store_true")
    parser.add_argument("--soak", type=int, metavar="REQUESTS")
    parser.add_argument("--build", action="store_true")
    arguments = parser.parse_args()
    parts = [("speed.py", lambda: speed_part(speed.measured(arguments)))]
    if arguments.loader:
        parts.append(("loader_bench", run_loader))
    if arguments.soak is not None:
        parts.append(("soak.py", lambda: run_soak(arguments.soak)))
    if arguments.build:
        parts.append(("the build", run_build))
    revision = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                              capture_output=True, text=True, check=False).stdout.strip()
    command = " ".join(["tests/bench/demo_results.py", *sys.argv[1:]])
    print(f"# The demo model\n\n{datetime.date.today()}; "
          f"{processor(pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8'))}; "
          f"revision {revision}. `tests/data/tiny-r1`, medians (least to most).\n\n"
          f"Command: `{command}`")
    failed = False
    for name, part in parts:
        print(f"measuring: {name}", file=sys.stderr)
        try:
            print("\n" + part(), flush=True)
        except Complaint as complaint:
            failed = True
            print(f"\n{complaint}", flush=True)
        except (ValueError, OSError, subprocess.SubprocessError) as error:
            failed = True
            print(f"\nFailed: {name}", flush=True)
            print(error, file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
