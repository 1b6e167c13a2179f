#!/usr/bin/env python3
"""Compiles each header of the project alone.

A header whose source of the same name includes it first is proven by a build that compiles each
source by itself, as the presets debug, clang and tidy do (layers.py insists on that order); this
compiles the others, with the flags of a target that lists or links them, or of one that it links.
Those of a library that this build leaves out, as the CUDA ones without BATON_CUDA, are left out
here too.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import layers


def compile_flags(commands, target, targets):
    """The compile command, as words, that suits a header of `target`.

    Of the commands of the target and of those that link it, the one with the most flags: a header
    of vector kernels needs those of the widest instructions. Where none of these compiles under its
    own name (tests that one program holds together), a command of what the target links, which
    knows the generated headers.
    """
    users = [user for user in targets.values() if target.name in user.public + user.private]
    used = [name for name in target.public + target.private if name in targets]
    for names in ([target.name] + [user.name for user in users], used):
        fitting = [command for name in names for command in commands.get(name, [])]
        if fitting:
            return max(fitting, key=len)
    return next(iter(commands.values()))[0]


def check_command(words, header):
    """The words of a command that parses a file which only includes `header`, read from stdin.

    What is precompiled for a target is left out: it would hide what the header lacks.
    """
    command = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-c", "-include"):
            skip = True
        elif (word not in ("-MD", "-fcolor-diagnostics", "-Winvalid-pch", "-fpch-preprocess")
              and not word.endswith("ccache")):
            command.append(word)
    # ccache keeps no result of -fsyntax-only, which is faster than finding out that it has one.
    return command + ["-fsyntax-only", "-O0", "-Wno-unused-function", "-x", "c++", "-include",
                      header,
                      "-MD", "-MF", "{depfile}", "-MT", "x", "/dev/null"]


def fingerprint(files):
    """A digest of the content of `files`; None if one is missing."""
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(pathlib.Path(file).read_bytes())
            digest.update(b"\0")
    except OSError:
        return None
    return digest.hexdigest()


def alone(words, header, scratch):
    """Compiles `header` by itself; its error text, or None.

    What compiled once is not compiled again until the command or a file that it read has changed.
    """
    stamp = scratch / (header.replace("/", "_") + ".json")
    depfile = stamp.with_suffix(".d")
    command = [word.replace("{depfile}", str(depfile)) for word in check_command(words, header)]
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(stamp.read_text())
        if known["command"] == command and known["digest"] == fingerprint(known["files"]):
            return None
    result = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
    if result.returncode != 0:
        return f"{header} does not compile alone:\n{result.stderr}"
    files = depfile.read_text().replace("\\\n", " ").split()[1:]
    depfile.unlink()
    stamp.write_text(json.dumps({"command": command, "files": files,
                                 "digest": fingerprint(files)}))
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    records = json.loads((arguments.build / "targets.json").read_text())
    targets = {record["name"]: layers.Target(record) for record in records}
    entries = json.loads((arguments.build / "compile_commands.json").read_text())
    commands = {}  # by target: what is compiled may be several sources as one
    for entry in entries:
        target = re.search(r" -o \S*?CMakeFiles/(?:baton_)?([^/]+)\.dir/", entry["command"])
        if target and target.group(1) in targets:
            commands.setdefault(target.group(1), []).append(shlex.split(entry["command"]))
    work = []
    for target in targets.values():
        if target.kind in ("proto", "absent_library"):
            continue
        for header in target.provides():
            if header.rsplit(".", 1)[0] + ".cc" in target.files or header.endswith(".cuh"):
                continue
            work.append((compile_flags(commands, target, targets), header))
    scratch = arguments.build.resolve() / "headers_alone"
    scratch.mkdir(exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        complaints = list(filter(None, pool.map(lambda item: alone(*item, scratch), work)))
    for complaint in complaints:
        print(complaint)
    print(f"{len(work) - len(complaints)} headers compile alone, {len(complaints)} do not")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
