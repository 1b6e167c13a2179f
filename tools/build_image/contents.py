"""What is in an image: programs, the shared libraries that they load, a few files beside them."""

import dataclasses
import os
import pathlib
import re
import subprocess

LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x")
IMAGES = {
    "control": ("baton", "baton-gateway", "baton-scheduler"),
    "worker": ("baton-stage-worker", "baton-model-loader"),
}
# Loaded by name while a program runs: UCX's transports, and the drivers of RDMA devices.
PLUGINS = {
    "control": (),
    "worker": ("/usr/lib/x86_64-linux-gnu/ucx/*.so*",
               "/usr/lib/x86_64-linux-gnu/libibverbs/*.so*", "/etc/libibverbs.d/*.driver"),
}
# `sleep` is what the pods of the form per-role-lws do before SIGTERM.
TOOLS = {"control": ("/usr/bin/sleep",), "worker": ("/usr/bin/sleep",)}
PLAIN = {
    "etc/passwd": (b"root:x:0:0:root:/:/sbin/nologin\n"
                   b"baton:x:65532:65532:baton:/tmp:/sbin/nologin\n"),
    "etc/group": b"root:x:0:\nbaton:x:65532:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}
FOLDERS = {"tmp": 0o1777, "dev": 0o755, "proc": 0o555, "sys": 0o555, "models": 0o755}
MERGED = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}


class ContentsError(Exception):
    """A file that should be in the image and is not on this machine."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file (data), a link (target) or a folder (neither)."""
    mode: int
    data: bytes | None = None
    target: str | None = None
    package: str = ""

    @property
    def is_folder(self):
        return self.data is None and self.target is None


def collect(image, bin_dir):
    """Path without leading / -> Entry. Errors: ContentsError."""
    tree = {path: Entry(mode) for path, mode in FOLDERS.items()}
    tree.update({path: Entry(0o777, target=target) for path, target in MERGED.items()})
    tree.update({path: Entry(0o644, data=data) for path, data in PLAIN.items()})
    loaded = []
    for name in IMAGES[image]:
        path = pathlib.Path(bin_dir) / name
        if not path.is_file():
            raise ContentsError(f"{path}: not built")
        tree[f"usr/local/bin/{name}"] = Entry(0o755, data=path.read_bytes(), package="baton")
        loaded.append(path)
    for pattern in PLUGINS[image]:
        loaded += sorted(pathlib.Path("/").glob(pattern.lstrip("/")))
    loaded += [pathlib.Path(path) for path in TOOLS[image]]
    libraries = {library for path in loaded for library in _libraries(path)}
    own = {pathlib.Path(bin_dir) / name for name in IMAGES[image]}
    files = sorted({*libraries, *(set(loaded) - own)})
    owners = _owners([path.resolve() for path in files])
    documents = [pathlib.Path(f"/usr/share/doc/{package}/copyright")
                 for package in sorted(set(owners.values()))]
    owners.update(_owners([path.resolve() for path in documents]))
    for path in (*files, *documents):
        _add(tree, path, owners[path.resolve()])
    _add_parents(tree)
    return tree


def _libraries(path):
    """All shared libraries that `path` loads, the interpreter among them."""
    result = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if "not found" in result.stdout:
        raise ContentsError(f"{path}: {result.stdout.strip()}")
    return [pathlib.Path(match[1]) for match in map(LIBRARY.match, result.stdout.splitlines())
            if match]


def _merged(path):
    """Where a path lies in a system whose /lib and /bin are links into /usr."""
    text = str(path).lstrip("/")
    first, _, rest = text.partition("/")
    return f"{MERGED[first]}/{rest}" if first in MERGED else text


def _add(tree, path, package):
    """A file, or a link and what it leads to."""
    place = _merged(path)
    real = pathlib.Path(_merged(path.resolve()))
    if str(real) != place:
        tree[place] = Entry(0o777, target=os.path.relpath(real, pathlib.Path(place).parent),
                            package=package)
    mode = 0o755 if os.access(path, os.X_OK) else 0o644
    tree[str(real)] = Entry(mode, data=path.read_bytes(), package=package)


def _owners(paths):
    """Path -> the Debian package that owns it; older packages know it under /lib or /bin."""
    names = [name for path in paths for name in (str(path), str(path).removeprefix("/usr"))]
    output = subprocess.run(["dpkg-query", "--search", *names], capture_output=True, text=True,
                            check=False).stdout
    known = {}
    for line in output.splitlines():
        package, _, name = line.rpartition(": ")
        known[name] = package.split(":")[0]
    owners = {path: known.get(str(path)) or known.get(str(path).removeprefix("/usr"))
              for path in paths}
    for path, package in owners.items():
        if package is None:
            raise ContentsError(f"{path}: not on this machine, or of no Debian package")
    return owners


def _add_parents(tree):
    for path in list(tree):
        for parent in pathlib.PurePosixPath(path).parents:
            if str(parent) != ".":
                tree.setdefault(str(parent), Entry(0o755))
