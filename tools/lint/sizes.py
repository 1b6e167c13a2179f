#!/usr/bin/env python3
"""Checks sizes and names of source files: see STYLE.md, "Numbers" and "Names"."""

import argparse
import ast
import pathlib
import re
import subprocess
import sys

import source_text

CPP = {".h", ".cc", ".cu", ".cuh"}
CHECKED = CPP | {".py", ".cmake"}  # and scripts in Python, which have no suffix
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


def is_python(path, text):
    """Whether it is a module, or a script that names Python in its first line."""
    suffix = pathlib.PurePath(path).suffix
    first = text.partition("\n")[0]
    return suffix == ".py" or (suffix == "" and first.startswith("#!") and "python" in first)


def functions(path, text):
    """(first line, number of lines, name) of every function of a file in C++ or Python."""
    if not is_python(path, text):
        return source_text.functions(text)
    return [(node.lineno, node.end_lineno - node.lineno + 1, node.name)
            for node in ast.walk(ast.parse(text, path))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def check_file(path, text):
    """Complaints about one file; `path` is relative to the root."""
    max_file, max_function = limits(path)
    lines = text.splitlines()
    complaints = []
    if len(lines) > max_file:
        complaints.append(f"{path}: {len(lines)} lines, the limit is {max_file}")
    name = pathlib.PurePath(path).name
    suffix = pathlib.PurePath(path).suffix
    words = set(re.split(r"[_.\-]", name.lower().removesuffix(suffix)))
    if name in WELL_KNOWN_NAMES:
        words = set()
    for word in sorted(words & FORBIDDEN_WORDS):
        complaints.append(f"{path}: a file's name says what it is, not \"{word}\"")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE and not UNBREAKABLE.search(line):
            complaints.append(f"{path}:{number}: {len(line)} columns, the limit is {MAX_LINE}")
    if suffix not in CPP and not is_python(path, text):
        return complaints
    for line, length, name in functions(path, text):
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

    def is_checked(path):
        if suffix := pathlib.PurePath(path).suffix:
            return suffix in CHECKED
        return is_python(path, (root / path).read_text(errors="replace"))

    return [path for path in listed if (root / path).is_file() and is_checked(path)]


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
