"""What holds for the files of manifests/ as such."""

import json
import re

import offered
import pods
import pytest
import render

FILES = sorted(path for path in offered.MANIFESTS.rglob("*.yaml"))
HOST = re.compile(r"\b([a-z0-9-]+(?:\.[a-z0-9-]+)+)/[a-z0-9._/-]+:[a-z0-9]")
SAME = ("envFrom", "ports", "startupProbe", "livenessProbe", "securityContext", "volumeMounts",
        "image", "command")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(offered.MANIFESTS)))
def test_opens_with_what_it_is(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and len(first) > 10


def test_only_the_images_component_names_a_registry():
    for path in FILES:
        hosts = {match[1] for match in HOST.finditer(path.read_text())}
        assert not hosts, f"{path}: {hosts}"
    images = render.read_yaml(offered.MANIFESTS / "components/images/kustomization.yaml")[0]["images"]
    assert {entry["newName"].split("/")[0] for entry in images} == {"registry.example.com"}


@pytest.mark.parametrize("name", ["plan", "gateway", "scheduler", "stage-worker", "model-loader"])
def test_forms_run_a_role_alike(name):
    """What is written once per form says the same in each."""
    found = {}
    for form in offered.FORMS:
        for template in pods.pod_templates(render.render(offered.MANIFESTS / "base" / form)):
            for container in template.containers():
                if container["name"] == name:
                    found[form, template.place] = {field: container.get(field) for field in SAME}
    assert len(found) >= len(offered.FORMS)
    first, *others = found.values()
    for other in others:
        assert other == first


def test_dashboard_config_map_holds_the_dashboard():
    objects = render.render_with(offered.MANIFESTS / "base/compact",
                                 [offered.MANIFESTS / "components/monitoring"])
    (board,) = [item for item in objects if item.name == "baton-dashboard"]
    assert json.loads(board.content["data"]["baton.json"])["panels"]
