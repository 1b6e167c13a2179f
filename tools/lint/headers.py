#!/usr/bin/env python3
"""Compiles each header of the project alone.

A header whose source of the same name includes it first is proven by the build (layers.py insists on
that order); this compiles the others, with the flags of a target that lists or links them.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

import layers


def compile_flags(commands, target, targets):
    """The compile command, as words, that suits a header of `target`.

    Of the sources of the target and of those that link it, the one with the most flags: a header of
    vector kernels needs those of the widest instructions. Include paths are the same everywhere.
    """
    users = [user for user in targets.values() if target.name in user.public + user.private]
    fitting = [commands[file] for user in [target, *users] for file in user.files
               if file in commands]
    return max(fitting, key=len) if fitting else next(iter(commands.values()))


def alone(words, header, scratch):
    """Compiles a file that only includes `header`; its error text, or None."""
    stem = scratch / header.replace("/", "_")
    source = stem.with_suffix(".cc")
    text = f'#include "{header}"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    command = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-c"):
            skip = True
        elif word not in ("-MD", "-fcolor-diagnostics"):
            command.append(word)
    command += ["-c", str(source), "-o", str(stem.with_suffix(".o"))]
    result = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
    return None if result.returncode == 0 else f"{header} does not compile alone:\n{result.stderr}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    entries = json.loads((arguments.build / "compile_commands.json").read_text())
    commands = {}
    for entry in entries:
        file = pathlib.Path(entry["file"])
        if file.is_relative_to(root):
            words = shlex.split(entry["command"])
            commands[file.relative_to(root).as_posix()] = words
    records = json.loads((arguments.build / "targets.json").read_text())
    targets = {record["name"]: layers.Target(record) for record in records}
    work = []
    for target in targets.values():
        if target.kind == "proto":
            continue
        for header in target.provides():
            if header.rsplit(".", 1)[0] + ".cc" in commands or header.endswith(".cuh"):
                continue
            work.append((compile_flags(commands, target, targets), header))
    # A fixed place, so that ccache knows the files again.
    scratch = arguments.build.resolve() / "headers_alone"
    scratch.mkdir(exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        complaints = list(filter(None, pool.map(lambda item: alone(*item, scratch), work)))
    for complaint in complaints:
        print(complaint)
    print(f"{len(work)} headers compiled alone")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
