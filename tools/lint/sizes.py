#!/usr/bin/env python3
"""Checks sizes and names of source files: see STYLE.md, "Numbers" and "Names"."""

import argparse
import pathlib
import re
import subprocess
import sys

import source_text

CPP = {".h", ".cc", ".cu", ".cuh"}
CHECKED = CPP | {".py", ".cmake"}
FORBIDDEN_WORDS = {
    "manager", "handler", "helper", "util", "utils", "common", "data", "info", "process",
}
WELL_KNOWN_NAMES = {"data_type.h"}  # the term of art
MAX_LINE = 100
UNBREAKABLE = re.compile(r'https?://|R"')  # addresses and raw strings


def limits(path):
    """(lines of a file, lines of a function) for a path relative to the root."""
    top = path.split("/")[0]
    if top == "kernels":
        return 500, 150
    if top == "tests":
        return 600, 70
    return 400, 70


def check_file(path, text):
    """Complaints about one file; `path` is relative to the root."""
    max_file, max_function = limits(path)
    lines = text.splitlines()
    complaints = []
    if len(lines) > max_file:
        complaints.append(f"{path}: {len(lines)} lines, the limit is {max_file}")
    name = pathlib.PurePath(path).name
    words = set(re.split(r"[_.\-]", name.lower())[:-1])
    if name in WELL_KNOWN_NAMES:
        words = set()
    for word in sorted(words & FORBIDDEN_WORDS):
        complaints.append(f"{path}: a file's name says what it is, not \"{word}\"")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE and not UNBREAKABLE.search(line):
            complaints.append(f"{path}:{number}: {len(line)} columns, the limit is {MAX_LINE}")
    if pathlib.PurePath(path).suffix not in CPP:
        return complaints
    for line, length, name in source_text.functions(text):
        if length > max_function:
            complaints.append(
                f"{path}:{line}: {name} has {length} lines, the limit is {max_function}")
    if "\nusing namespace " in text and path.endswith(".h"):
        complaints.append(f"{path}: `using namespace` in a header")
    if path.endswith((".h", ".cuh")) and "#pragma once" not in text:
        complaints.append(f"{path}: no `#pragma once`")
    return complaints


def source_files(root):
    """Paths of the checked files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in listed
            if pathlib.PurePath(path).suffix in CHECKED and (root / path).is_file()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    arguments = parser.parse_args()
    complaints = []
    for path in source_files(arguments.root):
        complaints += check_file(path, (arguments.root / path).read_text())
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
