"""Images hold what their programs load, run from exactly that, and are the same bytes each time."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "tests/data/tiny-r1"
PROGRAMS = {"control": ["baton-gateway", "baton-scheduler"],
            "worker": ["baton-stage-worker", "baton-model-loader"]}
LARGEST = {"control": 500e6, "worker": 2e9}  # bytes, compressed
IN_ROOT = ('for f in dev proc sys; do mount --rbind "/$f" "$0/$f"; done; '
           'exec chroot --userspec=65532:65532 "$0" "$@"')


def build(image, folder, built):
    subprocess.run([sys.executable, ROOT / "tools/build_image", image, folder, "--bin-dir",
                    built.folder, "--rootfs", folder / "rootfs"], check=True, capture_output=True)
    return folder


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def inside(rootfs, *words):
    """A command line that runs in these files alone, as the image's user."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_ROOT, rootfs, *words]


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def image(request, tmp_path_factory, built):
    return request.param, build(request.param, tmp_path_factory.mktemp(request.param), built)


def test_two_builds_are_the_same_bytes(image, tmp_path, built):
    name, first = image
    again = build(name, tmp_path / "again", built)
    assert digests(again / "image") == digests(first / "image")
    assert (again / "sbom.spdx.json").read_bytes() == (first / "sbom.spdx.json").read_bytes()


def test_layout_is_whole_and_small(image):
    name, folder = image
    layout = folder / "image"
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]

    def blob(reference):
        data = (layout / "blobs/sha256" / reference["digest"].partition(":")[2]).read_bytes()
        assert len(data) == reference["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == reference["digest"]
        return data

    manifest = json.loads(blob(entry))
    assert json.loads(blob(manifest["config"]))["config"]["User"] == "65532:65532"
    assert sum(len(blob(layer)) for layer in manifest["layers"]) < LARGEST[name]


def test_bill_of_materials_names_every_package(image):
    _, folder = image
    listed = {line.split()[1] for line in (folder / "contents.txt").read_text().splitlines()}
    document = json.loads((folder / "sbom.spdx.json").read_text())
    assert {record["name"] for record in document["packages"]} == listed - {"-"}
    assert all(record["versionInfo"] for record in document["packages"])


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_programs_run_from_the_image_alone(image):
    name, folder = image
    for program in PROGRAMS[name]:
        result = subprocess.run(inside(folder / "rootfs", program, "--version"),
                                capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_model_loader_serves_from_the_image_alone(tmp_path, built):
    rootfs = build("worker", tmp_path, built) / "rootfs"
    shutil.copytree(MODEL, rootfs / "models/tiny-r1")
    ports = rootfs / "tmp/ports.json"
    command = inside(rootfs, "baton-model-loader", "--model=/models/tiny-r1",
                     "--listen-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0",
                     "--ucx-transports=tcp", "--ports-file=/tmp/ports.json")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as loader:
        try:
            limit = time.monotonic() + 60
            while not ports.exists():
                assert loader.poll() is None, loader.stderr.read()
                assert time.monotonic() < limit, "it does not listen"
                time.sleep(0.05)
        finally:
            loader.send_signal(signal.SIGTERM)
        assert loader.wait(30) == 0
