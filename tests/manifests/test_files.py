"""What holds for the files of manifests/ as such."""

import json
import pathlib
import re
import subprocess

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
    (component,) = render.read_yaml(offered.MANIFESTS / "components/images/kustomization.yaml")
    for entry in component["images"]:
        assert entry["newName"].startswith("registry.example.com/")


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


def test_losses_of_all_causes_count_together():
    """Losses for one reason and another are flapping, too; what reasons there are is said."""
    (rules,) = render.read_yaml(offered.MANIFESTS / "components/monitoring/alerts.yaml")
    (alert,) = [rule for group in rules["spec"]["groups"] for rule in group["rules"]
                if rule["alert"] == "BatonEpochFlapping"]
    assert re.findall(r"\bby \(([^)]*)\)", alert["expr"]) == ["namespace"]
    metrics = (offered.MANIFESTS.parent / "METRICS.md").read_text()
    (meaning,) = re.findall(r"`baton_scheduler_stage_losses_total` .*label `cause`: (.*)", metrics)
    causes = re.findall(r"`(\w+)` \(", meaning)
    assert len(causes) == 3
    for cause in causes:
        assert f"{cause} (" in alert["annotations"]["summary"]


R1 = pathlib.Path(__file__).parents[1] / "data/deepseek-r1"
CAPACITY = re.compile(r"\| ([12]) x 8 \(PP [12], TP 8\) \| (\d+) GB "
                      r"\| [^|]+ \| ([^|]+) \| ([^|]+) \|")


def test_capacity_table_is_what_baton_plan_says(built):
    rows = CAPACITY.findall((offered.MANIFESTS / "README.md").read_text())
    assert len(rows) == 5
    for stages, gigabytes, tokens, sequences in rows:
        plan = json.loads(subprocess.run(
            [built.folder / "baton", "plan", R1, "--pipeline-parallel-size", stages,
             "--tensor-parallel-size", "8", "--memory-per-rank", f"{gigabytes}GB", "--json"],
            capture_output=True, text=True, check=False).stdout)
        if plan["fits"]:
            assert tokens == f"{plan['kv_tokens']:,}"
            assert sequences == str(plan["kv_tokens"] // 32768)
        else:
            assert tokens.startswith("does not fit")


@pytest.mark.parametrize("form", offered.FORMS)
def test_plan_container_takes_the_model_and_refuses_half_the_gpus(form, built):
    objects = render.render(offered.MANIFESTS / "base" / form)
    (plan,) = [container for template in pods.pod_templates(objects)
               for container in template.containers() if container["name"] == "plan"]
    words, missing = pods.command_line(plan, objects)
    assert missing == []
    words = [str(R1) if word == "/models/DeepSeek-R1" else word for word in words]
    half = [word.replace("--pipeline-parallel-size=2", "--pipeline-parallel-size=1")
            for word in words]
    assert subprocess.run([built.folder / words[0], *words[1:]], check=False,
                          capture_output=True).returncode == 0
    assert subprocess.run([built.folder / half[0], *half[1:]], check=False,
                          capture_output=True).returncode != 0
