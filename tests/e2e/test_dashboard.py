"""The Grafana dashboard, METRICS.md and what the processes export name the same metrics."""

import json
import re
import subprocess

import running_group

DASHBOARDS = running_group.ROOT / "manifests/dashboards"
OURS = re.compile(r"\b(?:baton_|vllm:)[a-z0-9_:]+")
PARTS = ("_bucket", "_sum", "_count")


def exported_families(group):
    """Names of all baton_* and vllm:* metrics of all processes, and of their histograms."""
    names, histograms = set(), set()
    for url in group.metrics_urls.values():
        code, text = running_group.fetch(url)
        assert code == 200, text
        for line in text.splitlines():
            if not line.startswith("# TYPE "):
                continue
            _, _, name, kind = line.split()
            if OURS.fullmatch(name):
                names.add(name)
                if kind == "histogram":
                    histograms.add(name)
    return names, histograms


def family(name, histograms):
    """The metric to which a series belongs."""
    for part in PARTS:
        if name.endswith(part) and name.removesuffix(part) in histograms:
            return name.removesuffix(part)
    return name


def test_shows_every_metric_and_no_other(group):
    # Some series only exist once there was something to count.
    assert running_group.complete(group, "Hello")[0] == 200
    assert running_group.complete(group, "Hello", n=0)[0] == 400
    exported, histograms = exported_families(group)
    dashboard = json.loads((DASHBOARDS / "baton.json").read_text())
    used = {family(name, histograms) for panel in dashboard["panels"]
            for target in panel.get("targets", []) for name in OURS.findall(target["expr"])}
    assert not used - exported, "no process exports what a panel asks for"
    assert not exported - used, "on no panel: add it to manifests/dashboards/make_dashboard"


def test_metrics_page_lists_every_metric(group):
    assert running_group.complete(group, "Hello", n=0)[0] == 400
    exported, histograms = exported_families(group)
    page = (running_group.ROOT / "METRICS.md").read_text()
    listed = {family(name, histograms) for name in OURS.findall(page)}
    assert not exported - listed, "not in METRICS.md"
    assert not listed - exported, "no process exports what METRICS.md lists"


def test_dashboard_is_what_its_generator_writes():
    result = subprocess.run([DASHBOARDS / "make_dashboard", "--check"], capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stderr
