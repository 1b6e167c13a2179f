#!/usr/bin/env python3
"""Baton beside llama.cpp and vLLM on this processor: the same random weights and prompts, in turns.

  tests/bench/compare.py --folder /scratch/compare     # 30 GB free; an hour with every engine
  tests/bench/compare.py --folder /scratch/compare --engines baton-fp8 llama-q8_0 --rows offline \\
                         --out result.md

Builds what the peers need from PyPI (once), writes the model in each one's format (once), then
measures in rounds: in each round every engine is measured once, so that a busy minute hits all of
them. Medians and ratios go to --out. Rows: offline (tokens/s of prefill and decode inside the
engine), served (through its HTTP server, by `baton bench serve`; start to first token; peak
memory). A peer that cannot be built or run here is listed with its reason. Needs a build.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import compare_engines

OFFLINE = ["prefill 512", "prefill 2048", "decode B=1", "decode B=8", "decode B=32"]
STREAMS = [1, 8, 32]
# What the best Baton is to be of the best peer, without AMX; of rows in seconds and MiB: at most.
AIMS = {"prefill 512": ">= 1.05", "prefill 2048": ">= 1.05", "decode B=1": ">= 1.5",
        "decode B=8": ">= 2.5", "decode B=32": ">= 1.7", "served c=1 out tok/s": ">= 2",
        "served c=8 out tok/s": ">= 2", "served c=32 out tok/s": ">= 2",
        "start to first token, s": "<= 1.0 s", "peak RSS, MiB": "<= 2662 MiB in FP8"}


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def vector_extensions():
    flags = pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    wanted = ["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"]
    return " ".join(flag for flag in wanted if flag in flags)


class Figures:
    """Every figure of every engine, in the order of the rounds; kept in a file after each one."""

    def __init__(self, path):
        self.path = path
        self.values = json.loads(path.read_text()) if path.exists() else {}

    def add(self, engine, figures):
        for row, value in figures.items():
            self.values.setdefault(row, {}).setdefault(engine, []).append(value)
        self.path.write_text(json.dumps(self.values, indent=1))

    def median(self, row, engine):
        values = self.values.get(row, {}).get(engine)
        return statistics.median(values) if values else None


def row_names(figures):
    served = [f"served c={c} {what}" for c in STREAMS
              for what in ("out tok/s", "TTFT ms", "TPOT ms")]
    order = OFFLINE + served + ["start to first token, s", "first start to first token, s",
                                "peak RSS, MiB"]
    return [row for row in order if row in figures.values]


def ratio(figures, row, baton, peers):
    """Best Baton against the best peer; above 1: Baton is better. None if one is missing."""
    ours = [v for v in (figures.median(row, e) for e in baton) if v]
    theirs = [v for v in (figures.median(row, e) for e in peers) if v]
    if not ours or not theirs:
        return None
    smaller = row.endswith((" ms", ", s", "MiB"))
    return min(theirs) / min(ours) if smaller else max(ours) / max(theirs)


def table(figures, engines):
    baton = [e for e in engines if e.startswith("baton")]
    peers = [e for e in engines if not e.startswith("baton")]
    lines = ["| figure (median) | " + " | ".join(engines) + " | best Baton / best peer | aim |",
             "|---|" + "---:|" * (len(engines) + 2)]
    for row in row_names(figures):
        cells = [figures.median(row, e) for e in engines]
        against = ratio(figures, row, baton, peers)
        lines.append(f"| {row} | " + " | ".join("-" if c is None else f"{c:.4g}" for c in cells)
                     + " | " + ("-" if against is None else f"{against:.2f}")
                     + f" | {AIMS.get(row, '')} |")
    return lines


def report(arguments, figures, engines, failures, machine, loads):
    rounds = max((len(v) for row in figures.values.values() for v in row.values()), default=0)
    lines = [f"# {cpu_model()}, {arguments.threads} threads", "",
             f"{time.strftime('%Y-%m-%d', time.gmtime())}; {vector_extensions()}; rounds: "
             f"{rounds}, engines in turns; "
             f"load average {min(loads):.1f} to {max(loads):.1f} at the beginnings of "
             f"measurements. {machine}", ""]
    lines += table(figures, [e for e in engines if e not in failures])
    if failures:
        lines += ["", "Not measured:", ""] + [f"- {name}: {reason}"
                                              for name, reason in failures.items()]
    lines += ["", "Command: `tests/bench/compare.py " + " ".join(arguments.words) + "`", ""]
    return "\n".join(lines)


def measure(engine, arguments):
    figures = {}
    if "offline" in arguments.rows:
        figures.update(engine.offline())
    if "served" in arguments.rows:
        figures.update(engine.served(STREAMS))
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog="\n".join(__doc__.splitlines()[2:]),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True,
                        help="models, peers and raw figures; kept")
    parser.add_argument("--engines", nargs="+", default=list(compare_engines.ENGINES),
                        choices=list(compare_engines.ENGINES), metavar="ENGINE",
                        help="of " + ", ".join(compare_engines.ENGINES))
    parser.add_argument("--rows", nargs="+", default=["offline", "served"],
                        choices=["offline", "served"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=pathlib.Path,
                        help="the table as Markdown; default: standard output alone")
    arguments = parser.parse_args()
    arguments.words = ["FOLDER" if word == str(arguments.folder) else word for word in sys.argv[1:]]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    engines, failures = {}, {}
    for name in arguments.engines:
        print(f"preparing {name}", file=sys.stderr, flush=True)
        try:
            engines[name] = compare_engines.ENGINES[name](name, arguments.folder.resolve(),
                                                          arguments.threads)
            engines[name].prepare()
        except compare_engines.Failed as error:
            failures[name] = str(error)
    figures, loads = Figures(arguments.folder / "figures.json"), [os.getloadavg()[0]]
    for turn in range(arguments.rounds):
        for name, engine in engines.items():
            if name in failures:
                continue
            loads.append(os.getloadavg()[0])
            print(f"round {turn + 1} of {arguments.rounds}: {name}, load {loads[-1]:.1f}",
                  file=sys.stderr, flush=True)
            try:
                figures.add(name, measure(engine, arguments))
            except compare_engines.Failed as error:
                failures[name] = str(error)
    machine = next((e.machine for e in engines.values() if getattr(e, "machine", "")), "")
    text = report(arguments, figures, arguments.engines, failures, machine, loads)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
