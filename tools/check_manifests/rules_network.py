"""NetworkPolicies allow every wire of a group, and no other between pods.

The policies are evaluated as Kubernetes does: a pod that some policy selects for a direction is
closed in that direction but for what such policies allow; a connection needs both ends.
"""

import pods
from context import about

UCX = 40000  # stands for all ports of the kernel's range, of which UCX takes any
CLIENT = {"namespace": {"roles.baton/clients": "true"}, "labels": {}}
MONITOR = {"namespace": {"kubernetes.io/metadata.name": "monitoring"}, "labels": {}}
STRANGER = {"namespace": {"kubernetes.io/metadata.name": "elsewhere"}, "labels": {}}
DNS = {"namespace": {"kubernetes.io/metadata.name": "kube-system"},
       "labels": {"k8s-app": "kube-dns"}}
# Of an InferencePool: not of the group, but in its namespace.
PICKER = {"namespace": {}, "labels": {"roles.baton/picker": "true"}, "own": True}
NEIGHBOUR = {"namespace": {}, "labels": {}, "own": True}
OUTSIDE = {"client": CLIENT, "monitoring": MONITOR, "other namespace": STRANGER, "dns": DNS,
           "picker": PICKER, "neighbour": NEIGHBOUR}
# (from, to, port): every wire of a group; roles, or names of OUTSIDE.
WIRES = {
    ("client", "gateway", 8000), ("client", "gateway", 50051),
    ("gateway", "scheduler", 50052), ("stage-worker", "scheduler", 50052),
    ("stage-worker", "model-loader", 50054),
    ("stage-worker", "stage-worker", UCX),
    ("stage-worker", "model-loader", UCX), ("model-loader", "stage-worker", UCX),
    ("picker", "gateway", 9091),
    ("monitoring", "gateway", 9091), ("monitoring", "scheduler", 9092),
    ("monitoring", "stage-worker", 9093), ("monitoring", "model-loader", 9094),
}
PORTS = (22, 443, 8000, 9091, 9092, 9093, 9094, 50051, 50052, 50053, 50054, UCX)
# Allowed though no role listens there: the policies for metrics and UCX name ranges of ports.
HARMLESS = {
    "monitoring": {9091, 9092, 9093, 9094},
    "stage-worker": {50051, 50052, 50053, 50054},
    "model-loader": {50051, 50052, 50053, 50054},
}


def check(context):
    policies = context.of_kind("NetworkPolicy")
    if not policies:
        return
    ends = {str(template): {"namespace": {}, "labels": template.labels, "own": True,
                            "roles": template.roles, "template": template}
            for template in context.templates}
    for target_name, target in ends.items():
        for source_name, source in {**ends, **OUTSIDE}.items():
            roles = source.get("roles") or {source_name}
            for port in PORTS:
                wanted = any((role, other, port) in WIRES
                             for role in roles for other in target["roles"])
                allowed = _connects(policies, source, target, port, "TCP")
                if wanted and not allowed:
                    yield about(target["template"], f"NetworkPolicies stop {source_name} from "
                                                    f"reaching port {_port(port)}")
                harmless = any(port in HARMLESS.get(role, ()) for role in roles)
                if allowed and not wanted and not harmless:
                    yield about(target["template"], f"NetworkPolicies let {source_name} reach port "
                                                    f"{_port(port)}, which is no wire")
    for name, source in ends.items():
        for protocol in ("UDP", "TCP"):
            if not _leaves(policies, source, DNS, 53, protocol):
                yield about(source["template"], f"NetworkPolicies stop {protocol} to the DNS")
        if _leaves(policies, source, STRANGER, 443, "TCP"):
            yield about(source["template"], "NetworkPolicies let it out to other namespaces")


def _port(port):
    return "any (UCX)" if port == UCX else str(port)


def _connects(policies, source, target, port, protocol):
    if not _enters(policies, source, target, port, protocol):
        return False
    return not source.get("own") or _leaves(policies, source, target, port, protocol)


def _enters(policies, source, target, port, protocol):
    return _allows(policies, target, source, port, protocol, "Ingress", "ingress", "from")


def _leaves(policies, source, target, port, protocol):
    return _allows(policies, source, target, port, protocol, "Egress", "egress", "to")


def _allows(policies, pod, peer, port, protocol, direction, field, peers_field):
    closed = False
    for policy in policies:
        spec = policy.content["spec"]
        if (direction not in spec.get("policyTypes", ["Ingress"])
                or not pods.selects(spec.get("podSelector") or {}, pod["labels"])):
            continue
        closed = True
        for rule in spec.get(field) or []:
            peers = rule.get(peers_field)
            if (not peers or any(_is_peer(entry, peer) for entry in peers)) and (
                    not rule.get("ports")
                    or any(_is_port(entry, port, protocol) for entry in rule["ports"])):
                return True
    return not closed


def _is_peer(entry, peer):
    if "ipBlock" in entry:
        return True  # no address is known here: taken for every one
    if "namespaceSelector" in entry:
        if not pods.selects(entry["namespaceSelector"], peer["namespace"]):
            return False
    elif not peer.get("own"):
        return False
    return pods.selects(entry.get("podSelector") or {}, peer["labels"])


def _is_port(entry, port, protocol):
    if entry.get("protocol", "TCP") != protocol:
        return False
    first = entry.get("port")
    return first is None or first <= port <= entry.get("endPort", first)
