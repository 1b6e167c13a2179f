#!/usr/bin/env python3
"""Checks that larger folders have a README: see STYLE.md, "Comments"."""

import argparse
import collections
import pathlib
import subprocess
import sys

SOURCES = {".h", ".cc", ".cu", ".cuh", ".py", ".proto"}
MOST_WITHOUT = 3
# Unit tests mirror the tree: what a folder of them is about stands in the mirrored one.
MIRRORS = "tests/unit/"


def check(paths):
    """Complaints about a tree with these files; paths are relative to the root."""
    counts = collections.Counter()
    described = set()
    for path in map(pathlib.PurePosixPath, paths):
        if path.name == "README.md":
            described.add(path.parent)
        elif path.suffix in SOURCES:
            counts[path.parent] += 1
    return [f"{folder}: {count} source files and no README.md; more than {MOST_WITHOUT} need one"
            for folder, count in sorted(counts.items())
            if count > MOST_WITHOUT and folder not in described
            and not f"{folder}/".startswith(MIRRORS)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    root = parser.parse_args().root
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    complaints = check(path for path in listed if (root / path).is_file())
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
