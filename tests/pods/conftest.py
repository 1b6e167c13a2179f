"""Fixtures of the tests that run a group's pods in network namespaces."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools/check_manifests"))

import certificates  # noqa: E402
import offered  # noqa: E402
import pod_network  # noqa: E402
import render  # noqa: E402
import set_controller  # noqa: E402

MODEL = ROOT / "tests/data/tiny-r1"


@pytest.fixture
def start_cluster(tmp_path):
    """start_cluster(form, groups=1, components=()): a form's pods, with the demo's settings and
    these components, to be created."""
    if not pod_network.is_allowed():
        pytest.skip("network namespaces need root")
    started = []

    def start(form, groups=1, components=()):
        folders = [offered.MANIFESTS / "components" / name
                   for name in ("images", "cpu-demo", *components)]
        objects = render.render_with(offered.MANIFESTS / "base" / form, folders)
        for item in objects:
            if item.kind == "LeaderWorkerSet":
                item.content["spec"]["replicas"] = groups
        network = pod_network.PodNetwork(tmp_path)
        options = {"bin_dir": os.environ.get("BATON_BIN_DIR", ROOT / "build/release/bin"),
                   "volumes": {"model": MODEL},
                   "secrets": certificates.Secrets(objects, tmp_path / "secrets")}
        cluster = set_controller.Cluster(objects, network, options)
        started.append((cluster, network))
        return cluster

    yield start
    for cluster, network in started:
        cluster.close()
        network.close()
