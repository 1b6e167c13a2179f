#!/usr/bin/env python3
"""Writes schemas/ from CustomResourceDefinitions and Kubernetes' own definitions.

usage: make_schemas.py FOLDER

FOLDER holds one CustomResourceDefinition per .yaml file and core/kubernetes-*-definitions.json.
What is kept: the kinds of KINDS, their served versions, no descriptions.
"""

import argparse
import json
import pathlib

import yaml

# Custom kinds; and the built-in ones, by group, version and kind.
CUSTOM = {
    "LeaderWorkerSet", "DisaggregatedSet", "DisaggregatedSetRoleScaler", "Dataset", "JindoRuntime",
    "DataLoad", "PodMonitor", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "GRPCRoute",
    "Gateway", "InferencePool", "ScaledObject",
}
BUILT_IN = {
    ("", "v1", "Service"), ("", "v1", "Secret"), ("", "v1", "ConfigMap"), ("", "v1", "Pod"),
    ("", "v1", "PersistentVolume"), ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "ServiceAccount"), ("", "v1", "Namespace"), ("batch", "v1", "Job"),
    ("policy", "v1", "PodDisruptionBudget"), ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
}
REFERENCE = "#/definitions/"


def slim(node):
    """`node` without descriptions and CEL rules, which no JSON Schema validator reads."""
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: slim(value) for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
            and key != "x-kubernetes-validations"}


def reachable(definitions, names):
    """`names` and every definition that they refer to, directly or not."""
    found, open_names = set(), list(names)
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        text = json.dumps(definitions[name])
        open_names += [part.split('"')[0] for part in text.split('"' + REFERENCE)[1:]]
    return found


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    source = parser.parse_args().folder
    target = pathlib.Path(__file__).parent / "schemas"
    for path in sorted(source.glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        if spec["names"]["kind"] not in CUSTOM:
            continue
        versions = {version["name"]: slim(version["schema"]["openAPIV3Schema"])
                    for version in spec["versions"] if version["served"]}
        write(target / f"{path.stem}.json",
              {"group": spec["group"], "kind": spec["names"]["kind"], "versions": versions})
    (core,) = source.glob("core/kubernetes-*-definitions.json")
    definitions = slim(json.loads(core.read_text())["definitions"])
    wanted = [name for name, definition in definitions.items()
              for gvk in definition.get("x-kubernetes-group-version-kind", [])
              if (gvk["group"], gvk["version"], gvk["kind"]) in BUILT_IN]
    kept = reachable(definitions, wanted)
    write(target / f"{core.stem}.json", {"definitions": {k: definitions[k] for k in sorted(kept)}})


if __name__ == "__main__":
    main()
