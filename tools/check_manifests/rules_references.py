"""What one object names in another exists: keys, claims, accounts, selected pods, ports, peers."""

import re

import pods
from context import ROOT, about, in_container

METRIC = re.compile(r"\b(?:baton_|vllm:)[a-z0-9_:]+")
NAME_IN_TEXT = re.compile(r"`([a-z][a-z0-9_:]+)`")
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
PICKER_PORT = "roles.baton/picker-metrics-port"
GATEWAY_METRICS = "metrics-gw"
PEER_FLAGS = {"--scheduler": "scheduler", "--model-loader": "model-loader"}


def check(context):
    yield from _keys(context)
    yield from _pod_parts(context)
    yield from _selectors(context)
    yield from _pickers(context)
    yield from _services(context)
    yield from _routes(context)
    yield from _scalers(context)
    yield from _peers(context)
    yield from _fluid(context)
    yield from _metrics(context)
    yield from _images(context)


def _data(context, kind, name):
    for item in context.of_kind(kind):
        if item.name == name:
            return {**(item.content.get("data") or {}), **(item.content.get("stringData") or {})}
    return None


def _key(context, kind, reference):
    """What is wrong with a reference to a key (or to all keys) of a ConfigMap or Secret; ""."""
    if reference.get("optional"):
        return ""
    data = _data(context, kind, reference.get("name"))
    if data is None:
        return f"there is no {kind} {reference.get('name')}"
    if "key" in reference and reference["key"] not in data:
        return f"{kind} {reference['name']} has no key {reference['key']}"
    return ""


def _references(container):
    for source in container.get("envFrom") or []:
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                yield kind, source[field]
    for entry in container.get("env") or []:
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in (entry.get("valueFrom") or {}):
                yield kind, entry["valueFrom"][field]


def _keys(context):
    for template, container in context.containers():
        for kind, reference in _references(container):
            problem = _key(context, kind, reference)
            if problem:
                yield in_container(template, container, problem)
    for item in context.of_kind("Dataset"):
        for mount in item.content["spec"].get("mounts") or []:
            for option in mount.get("encryptOptions") or []:
                problem = _key(context, "Secret", option["valueFrom"]["secretKeyRef"])
                if problem:
                    yield about(item, problem)
    for item in context.of_kind("PersistentVolume"):
        reference = (item.content["spec"].get("csi") or {}).get("nodePublishSecretRef")
        if reference and _data(context, "Secret", reference.get("name")) is None:
            yield about(item, f"there is no Secret {reference.get('name')}")


def _pod_parts(context):
    accounts = context.names("ServiceAccount")
    claims = context.names("PersistentVolumeClaim") | context.names("Dataset")
    for template in context.templates:
        account = template.spec.get("serviceAccountName")
        if account and account not in accounts:
            yield about(template, f"there is no ServiceAccount {account}")
        volumes = {volume["name"]: volume for volume in template.spec.get("volumes") or []}
        for volume in volumes.values():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and claim not in claims:
                yield about(template, f"there is no PersistentVolumeClaim {claim}, nor a Dataset "
                                      "that would make it")
        mounted = {mount["name"] for container in template.containers()
                   for mount in container.get("volumeMounts") or []}
        for name in sorted(mounted - set(volumes)):
            yield about(template, f"volume {name} is mounted and not there")
        for name in sorted(set(volumes) - mounted):
            yield about(template, f"volume {name} is there and not mounted")


def _selectors(context):
    """Objects that select pods find some."""
    for item in context.of_kind("Service", "PodDisruptionBudget", "PodMonitor", "InferencePool",
                                "NetworkPolicy"):
        spec = item.content.get("spec") or {}
        selector = spec.get("podSelector" if item.kind == "NetworkPolicy" else "selector") or {}
        if item.kind == "Service":
            selector = {"matchLabels": selector}
        found = [template for template in context.templates
                 if pods.selects(selector, template.labels)]
        if not found:
            yield about(item, f"selects no pod: {selector}")
        ports = {entry.get("port") for entry in spec.get("podMetricsEndpoints") or []}
        known = {port["name"] for template in found for container in template.containers()
                 for port in container.get("ports") or []}
        for port in sorted(ports - known):
            yield about(item, f"no pod has a port {port}")
        numbers = {port["containerPort"] for template in found
                   for container in template.containers() for port in container.get("ports") or []}
        for port in spec.get("targetPorts") or []:
            if port["number"] not in numbers:
                yield about(item, f"no pod has a port {port['number']}")


def _pickers(context):
    """A pool says where its picker is to read metrics: a port of its pods for metrics alone. The
    one that clients use asks for a key, if there are any."""
    for pool in context.of_kind("InferencePool"):
        told = (pool.content["metadata"].get("annotations") or {}).get(PICKER_PORT)
        for template in context.templates:
            if not pods.selects(pool.content["spec"]["selector"], template.labels):
                continue
            unguarded = {str(port["containerPort"]) for container in template.containers()
                         for port in container.get("ports") or []
                         if port["name"] == GATEWAY_METRICS}
            if told not in unguarded:
                yield about(pool, f"annotation {PICKER_PORT} is {told}, where {template} has no "
                                  f"metrics of a gateway without a key: {sorted(unguarded)}")


def _services(context):
    for item in context.of_kind("Service"):
        spec = item.content["spec"]
        selector = {"matchLabels": spec.get("selector") or {}}
        for template in context.templates:
            if not pods.selects(selector, template.labels):
                continue
            for port in spec.get("ports") or []:
                target = port.get("targetPort", port["port"])
                if not any(pods.port_number(container, target)
                           for container in template.containers()):
                    yield about(item, f"port {port.get('name')}: {template} have no port {target}")


def _routes(context):
    for item in context.of_kind("HTTPRoute", "GRPCRoute"):
        for rule in item.content["spec"].get("rules") or []:
            for backend in rule.get("backendRefs") or []:
                kind = backend.get("kind", "Service")
                targets = {target.name: target for target in context.of_kind(kind)}
                target = targets.get(backend["name"])
                if target is None:
                    yield about(item, f"there is no {kind} {backend['name']}")
                elif kind == "Service" and backend.get("port") not in {
                        port["port"] for port in target.content["spec"]["ports"]}:
                    yield about(item, f"Service {target.name} has no port {backend.get('port')}")


def _scalers(context):
    external = {f"{item.name}-{role['name']}" for item in context.of_kind("DisaggregatedSet")
                for role in item.content["spec"].get("roles") or []
                if (role.get("scaling") or {}).get("mode") == "External"}
    scaled = {}
    for item in context.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        target = item.content["spec"]["scaleTargetRef"]
        other = scaled.setdefault((target["kind"], target["name"]), item)
        if other is not item:
            yield about(item, f"{other} scales {target['kind']} {target['name']} too")
        names = (external if target["kind"] == "DisaggregatedSetRoleScaler"
                 else context.names(target["kind"]))
        if target["name"] not in names:
            yield about(item, f"scales {target['kind']} {target['name']}, which is not there")


def _peers(context):
    """A peer's address is a container of the same pod, or a Service of such pods."""
    services = {item.name: item.content["spec"] for item in context.of_kind("Service")}
    for template, container in context.containers():
        words, _ = pods.command_line(container, context.objects)
        for word in words:
            flag, _, address = word.partition("=")
            if flag not in PEER_FLAGS:
                continue
            role = PEER_FLAGS[flag]
            host, _, port = address.rpartition(":")
            if host == "127.0.0.1":
                there = any(other["name"] == role and pods.port_number(other, int(port))
                            for other in template.containers())
            else:
                spec = services.get(host, {})
                there = (spec.get("selector", {}).get(pods.ROLE_LABEL + role) == "true" and
                         int(port) in {entry["port"] for entry in spec.get("ports") or []})
            if not there:
                yield in_container(template, container, f"{word}: no {role} answers there")


def _fluid(context):
    datasets = context.names("Dataset")
    for item in context.of_kind("JindoRuntime"):
        if item.name not in datasets:
            yield about(item, "a runtime has the name of its Dataset; there is none")
    for item in context.of_kind("Dataset"):
        if item.name not in context.names("JindoRuntime"):
            yield about(item, "there is no runtime of this name: nothing would be mounted")
    for item in context.of_kind("DataLoad"):
        if item.content["spec"]["dataset"]["name"] not in datasets:
            yield about(item, f"there is no Dataset {item.content['spec']['dataset']['name']}")
        if not item.content["spec"].get("target"):
            yield about(item, "without a target it loads the whole bucket")


def _metrics(context):
    known = set(NAME_IN_TEXT.findall((ROOT / "METRICS.md").read_text()))
    for item in context.of_kind("PrometheusRule", "HorizontalPodAutoscaler", "ScaledObject"):
        for name in sorted(set(METRIC.findall(str(item.content["spec"])))):
            base = next((name.removesuffix(part) for part in HISTOGRAM_PARTS
                         if name.endswith(part)), name)
            if name not in known and base not in known:
                yield about(item, f"no process exports {name}")


def _images(context):
    for template, container in context.containers():
        image = container.get("image", "")
        name, _, tag = image.rpartition("/")[2].partition(":")
        if "@sha256:" not in image and tag in ("", "latest"):
            yield in_container(template, container, f"image {name or image} has no fixed tag")
