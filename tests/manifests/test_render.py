"""The renderer gives what kustomize gives, and refuses what it does not support."""

import pathlib
import shutil
import subprocess

import offered
import pytest
import render
import yaml

CASES = pathlib.Path(__file__).parent / "render"
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n"


def as_set(documents):
    """(kind, name) -> object: the order of a rendered list means nothing."""
    return {(item["kind"], item["metadata"]["name"]): item for item in documents}


def rendered(folder, components=()):
    return as_set(item.content for item in render.render_with(folder, components))


@pytest.mark.parametrize("folder", sorted(CASES.iterdir()), ids=lambda folder: folder.name)
def test_renders_what_kustomize_recorded(folder):
    """expected.yaml is the output of kustomize 5.5.0."""
    expected = as_set(yaml.safe_load_all((folder / "expected.yaml").read_text()))
    assert rendered(folder) == expected


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")
@pytest.mark.parametrize("folder", sorted((offered.MANIFESTS / "overlays").iterdir()),
                         ids=lambda folder: folder.name)
def test_renders_overlay_as_kubectl_does(folder):
    output = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True,
                            check=True).stdout
    assert rendered(folder) == as_set(yaml.safe_load_all(output))


@pytest.mark.parametrize("text, reason", [
    ("namePrefix: x-\n", "namePrefix: not supported"),
    ("resources: [missing.yaml]\n", "missing.yaml: cannot be read"),
    ("resources: [a.yaml, a.yaml]\n", "ConfigMap a exists already"),
    ("resources: [.]\n", "includes itself"),
    ("resources: [a.yaml]\nlabels: [{pairs: {a: b}, includeSelectors: true}]\n",
     "only pairs are supported"),
    ("configMapGenerator: [{name: a, literals: [x=y]}]\n", "needs disableNameSuffixHash"),
    ("resources: [a.yaml]\nresources: [a.yaml]\n", "'resources' stands twice"),
    ("resources: [a.yaml]\npatches: [{patch: '[{op: move, path: /a, from: /b}]', "
     "target: {kind: ConfigMap}}]\n", "operation move: not supported"),
    ("resources: [a.yaml]\npatches: [{patch: '[{op: remove, path: /data/y}]', "
     "target: {kind: ConfigMap}}]\n", "/data/y: there is no y"),
    ("resources: [a.yaml]\npatches: [{patch: '[{op: test, path: /data/x, value: \"2\"}]', "
     "target: {kind: ConfigMap}}]\n", "'1', not '2'"),
    ("resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, "
     "metadata: {name: b}}'}]\n", "nothing to patch: no ConfigMap b"),
    ("resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, "
     "metadata: {name: a}, items: [1]}'}]\n", "/items: use a JSON 6902 patch"),
    ("components: [.]\n", "is not a Component"),
    ("resources: [{\n", "not YAML"),
])
def test_refuses(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(OBJECT)
    (tmp_path / "kustomization.yaml").write_text(HEAD + text)
    with pytest.raises(render.RenderError) as raised:
        render.render(tmp_path)
    assert reason in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))
