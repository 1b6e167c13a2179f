#!/usr/bin/env python3
"""Checks who includes and links whom against layers.toml.

Reads targets.json, which every configure writes into the build folder (what each target lists as
its files and dependencies), and the include lines of those files.
"""

import argparse
import fnmatch
import json
import pathlib
import sys
import tomllib

import source_text

SOURCES = (".h", ".cc", ".cu", ".cuh")
TOP_FOLDERS = ("common", "protos", "kernels", "services", "tools", "tests")


class Target:
    def __init__(self, record):
        self.kind = record["kind"]
        self.name = record["name"]
        self.folder = record["folder"]
        self.files = [f"{self.folder}/{name}" for name in record["files"] if name]
        self.public = [dep for dep in record["deps"] if dep]
        self.private = [dep for dep in record.get("private_deps", []) if dep]

    def provides(self):
        """Paths under which others include this target's files."""
        if self.kind != "proto":
            return [path for path in self.files if path.endswith((".h", ".cuh"))]
        stems = [path.removesuffix(".proto") for path in self.files]
        return [stem + end for stem in stems for end in (".pb.h", ".grpc.pb.h")]


class Rules:
    def __init__(self, text):
        parsed = tomllib.loads(text)
        self.layers = {layer["folder"]: layer for layer in parsed["layer"]}
        self.headers = parsed["headers"]
        self.system = {name for names in parsed["system"].values() for name in names}

    def layer(self, path):
        """The rule of a folder, of one file of it or, where that says so, of one above; or None.
        No folder of a service falls to the rule of the service."""
        for place in (path, *(str(above) for above in pathlib.PurePosixPath(path).parents)):
            layer = self.layers.get(place)
            own = place in (path, self.folder_of(path))
            if layer is not None and (own or layer.get("subfolders", False)):
                return layer
        return None

    @staticmethod
    def folder_of(path):
        """Of a source file; a folder is its own."""
        return path.rpartition("/")[0] if path.endswith(SOURCES) else path

    def package(self, header):
        """The third-party package of an include path, or None."""
        found = [begin for begin in self.headers
                 if header == begin or (begin[-1] in "/*" and header.startswith(begin.strip("*")))]
        return self.headers[max(found, key=len)] if found else None


def allowed(names, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def may_use(layer, target):
    if target.folder == layer["folder"] or target.folder.startswith(layer["folder"] + "/"):
        return True
    return any(target.name == use or target.folder == use or target.folder.startswith(use + "/")
               for use in layer["may_use"])


def strongly_connected(edges):
    """Sorted groups of more than one node that reach one another along `edges`."""
    def reachable(start):
        seen, ways = set(), [start]
        while ways:
            for node in edges.get(ways.pop(), ()):
                if node not in seen:
                    seen.add(node)
                    ways.append(node)
        return seen

    reached = {node: reachable(node) for node in edges}
    groups = {tuple(sorted(other for other in reached[node] if node in reached.get(other, ())))
              for node in edges if node in reached[node]}
    return sorted(group for group in groups if len(group) > 1)


class Checker:
    def __init__(self, root, targets, rules):
        self.root = root
        self.rules = rules
        self.targets = {target.name: target for target in targets}
        self.provider = {path: target for target in targets for path in target.provides()}
        self.folders = {}  # folder: {folder that its files include of: the first such place}
        self.complaints = []

    def check(self):
        for target in self.targets.values():
            if target.folder.split("/")[0] not in TOP_FOLDERS:
                continue
            self.check_dependencies(target)
            if target.kind == "proto":
                continue
            for path in target.files:
                self.check_file(target, path)
        self.check_owners()
        self.check_cycles()
        return self.complaints

    def check_dependencies(self, target):
        # A binary's folder holds its main, which may have a rule of its own.
        place = target.files[0] if target.kind == "binary" and target.files else target.folder
        layer = self.rules.layer(place)
        if layer is None:
            self.complaints.append(f"{target.name}: layers.toml says nothing of {target.folder}")
            return
        for dep in target.public + target.private:
            if dep.startswith("third_party::"):
                name = dep.removeprefix("third_party::")
                if not allowed([name], layer["third_party"]):
                    self.complaints.append(f"{target.name} ({place}) must not link {dep}")
            elif dep not in self.targets:
                self.complaints.append(f"{target.name} links {dep}, which is no target")
            elif not may_use(layer, self.targets[dep]):
                self.complaints.append(f"{target.name} ({place}) must not link {dep}")

    def closure(self, target):
        """Names of everything that `target` may include: its own deps and their public ones."""
        seen = set()
        open_names = target.public + target.private
        while open_names:
            name = open_names.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.targets:
                open_names += self.targets[name].public
        return seen

    def check_file(self, target, path):
        text = (self.root / path).read_text()
        layer = self.rules.layer(path)
        if layer is None:
            self.complaints.append(f"{path}: layers.toml says nothing of it")
            return
        linked = self.closure(target)
        if target.kind in ("test", "bench"):
            linked |= {"third_party::gtest", "third_party::benchmark"}
        if "third_party::gtest_main" in linked:
            linked.add("third_party::gtest")
        if target.kind == "proto" or any(
                self.targets[name].kind == "proto" for name in linked if name in self.targets):
            linked |= {"third_party::protobuf", "third_party::grpc"}
        for line, quoted, header in source_text.includes(text):
            place = f"{path}:{line}"
            if header in layer.get("forbidden_headers", []):
                self.complaints.append(f"{place}: {layer['folder']} must not include {header}")
            if header.split("/")[0] in TOP_FOLDERS and "/" in header:
                self.check_own_include(target, layer, linked, place, header)
            elif quoted and "/" not in header:
                self.complaints.append(f"{place}: \"{header}\" is not a path from the root")
            else:
                self.check_third_party(layer, linked, place, header)
        self.check_main_header(path, text)

    def check_own_include(self, target, layer, linked, place, header):
        folder, included = place.rpartition("/")[0], header.rpartition("/")[0]
        if folder != included:
            self.folders.setdefault(folder, {}).setdefault(included, f"{place} {header}")
        provider = self.provider.get(header)
        if provider is None:
            self.complaints.append(f"{place}: no target lists {header}")
        elif provider.name != target.name and provider.name not in linked:
            self.complaints.append(
                f"{place}: {header} is of {provider.name}, which {target.name} does not link")
        elif not may_use(layer, provider):
            self.complaints.append(f"{place}: {layer['folder']} must not include {header}")

    def check_third_party(self, layer, linked, place, header):
        package = self.rules.package(header)
        if package is None:
            if header not in self.rules.system:
                self.complaints.append(f"{place}: layers.toml does not say whose {header} is")
            return
        if not allowed([package], layer["third_party"]):
            self.complaints.append(f"{place}: {layer['folder']} must not include {header}")
        elif package != "threads" and f"third_party::{package}" not in linked:
            self.complaints.append(f"{place}: {header} needs third_party::{package} in DEPS")

    def check_main_header(self, path, text):
        """A source includes the header of its name first: so that header compiles alone.

        Not in CUDA sources: clang-format does not know their main header.
        """
        header = path.rsplit(".", 1)[0] + ".h"
        if not path.endswith(".cc") or header not in self.provider:
            return
        lines = source_text.includes(text)
        if not lines or lines[0][2] != header:
            self.complaints.append(f"{path}: {header} must be its first include")

    def check_cycles(self):
        """No folders include of one another, be it through others."""
        for cycle in strongly_connected(self.folders):
            places = [place for folder in cycle
                      for included, place in self.folders[folder].items() if included in cycle]
            self.complaints.append(
                f"cycle of folders: {', '.join(cycle)}: {'; '.join(sorted(places))}")

    def check_owners(self):
        """Every source file is listed by exactly one target."""
        owners = {}
        for target in self.targets.values():
            for path in target.files:
                owners.setdefault(path, []).append(target.name)
        for path, names in owners.items():
            if len(names) > 1:
                self.complaints.append(f"{path}: listed by {' and '.join(sorted(names))}")
        for top in TOP_FOLDERS:
            for path in sorted((self.root / top).rglob("*")):
                relative = path.relative_to(self.root).as_posix()
                if path.suffix in SOURCES and relative not in owners:
                    self.complaints.append(f"{relative}: no target lists this file")


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=here.parents[1])
    parser.add_argument("--targets", type=pathlib.Path, required=True, help="targets.json")
    arguments = parser.parse_args()
    targets = [Target(record) for record in json.loads(arguments.targets.read_text())]
    rules = Rules((here / "layers.toml").read_text())
    complaints = Checker(arguments.root, targets, rules).check()
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
