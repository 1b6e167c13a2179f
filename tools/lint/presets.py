#!/usr/bin/env python3
"""Checks that every preset of CMakePresets.json configures: nobody builds all of them every day."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile


def presets(text):
    """The names of those that can be configured."""
    return [preset["name"] for preset in json.loads(text)["configurePresets"]
            if not preset.get("hidden")]


def configure(root, preset):
    """What CMake says if it fails, or nothing."""
    with tempfile.TemporaryDirectory(prefix=f"baton-preset-{preset}-") as build:
        run = subprocess.run(["cmake", "-S", root, "--preset", preset, "-B", build],
                             cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if run.returncode == 0 else run.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     epilog="example: tools/lint/presets.py asan tsan")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    parser.add_argument("preset", nargs="*", help="default: all, cuda only where there is an nvcc")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    chosen = arguments.preset or presets((root / "CMakePresets.json").read_text())
    failed = 0
    for preset in chosen:
        if preset == "cuda" and not arguments.preset and not (
                shutil.which("nvcc") or pathlib.Path("/usr/local/cuda/bin/nvcc").exists()):
            print("cuda: not checked, no nvcc here")
            continue
        complaint = configure(root, preset)
        if complaint:
            failed += 1
            print(f"{preset}: does not configure:\n{complaint}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
