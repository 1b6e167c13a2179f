"""What a set of rendered objects says about pods: their templates, containers, environment."""

import dataclasses
import re

ROLE_LABEL = "roles.baton/"
ROLES = ("gateway", "scheduler", "stage-worker", "model-loader")
VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
# What LeaderWorkerSet puts into every container, with the values of a pod for examples.
LWS_ENVIRONMENT = {"LWS_LEADER_ADDRESS": "baton-0.baton.default", "LWS_GROUP_SIZE": "2",
                   "LWS_WORKER_INDEX": "0"}
FIELD_VALUES = {"status.podIP": "10.0.0.1", "metadata.name": "baton-0",
                "metadata.namespace": "default"}


@dataclasses.dataclass
class PodTemplate:
    """One template; `count` pods of a group are made from it."""
    owner: object       # render.Object
    place: str          # "leader", "worker" or the name of a role
    content: dict
    count: int

    @property
    def labels(self):
        return (self.content.get("metadata") or {}).get("labels") or {}

    @property
    def spec(self):
        return self.content.get("spec") or {}

    @property
    def roles(self):
        return {role for role in ROLES if self.labels.get(ROLE_LABEL + role) == "true"}

    def containers(self):
        return [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]

    def long_running(self):
        """Containers that run as long as the pod: all but plain init containers."""
        sidecars = [item for item in self.spec.get("initContainers") or []
                    if item.get("restartPolicy") == "Always"]
        return [*sidecars, *(self.spec.get("containers") or [])]

    def __str__(self):
        return f"{self.owner}, pods of the {self.place}"


def _group_templates(owner, group, worker_place):
    template = group.get("leaderWorkerTemplate") or {}
    size = template.get("size", 1)
    leader, worker = template.get("leaderTemplate"), template.get("workerTemplate") or {}
    if leader is not None:
        yield PodTemplate(owner, "leader", leader, 1)
        if size > 1:
            yield PodTemplate(owner, worker_place, worker, size - 1)
    else:
        yield PodTemplate(owner, worker_place, worker, size)


def pod_templates(objects):
    """All templates of LeaderWorkerSets and DisaggregatedSets."""
    found = []
    for item in objects:
        spec = item.content.get("spec") or {}
        if item.kind == "LeaderWorkerSet":
            found += _group_templates(item, spec, "worker")
        elif item.kind == "DisaggregatedSet":
            for role in spec.get("roles") or []:
                found += _group_templates(item, role.get("spec") or {}, role.get("name", "?"))
    return found


def by_name(objects, kind):
    return {item.name: item for item in objects if item.kind == kind}


def environment(container, objects, lws=None, fields=None):
    """Name -> value as the container's process sees it. `lws` is what LeaderWorkerSet sets,
    `fields` what the downward API knows; examples where none is given."""
    fields = fields or FIELD_VALUES
    maps, secrets = by_name(objects, "ConfigMap"), by_name(objects, "Secret")
    values = {}
    for source in container.get("envFrom") or []:
        config = maps.get((source.get("configMapRef") or {}).get("name"))
        if config is not None:
            values.update(config.content.get("data") or {})
    for entry in container.get("env") or []:
        source = entry.get("valueFrom") or {}
        if "fieldRef" in source:
            values[entry["name"]] = fields.get(source["fieldRef"]["fieldPath"], "?")
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            config = maps.get(reference["name"])
            data = (config.content.get("data") or {}) if config else {}
            values[entry["name"]] = data.get(reference["key"], "")
        elif "secretKeyRef" in source:
            if source["secretKeyRef"]["name"] in secrets:  # its value is not looked at
                values[entry["name"]] = "secret"
        else:
            values[entry["name"]] = VARIABLE.sub(
                lambda match: values.get(match[1], match[0]), str(entry.get("value", "")))
    return {**values, **(LWS_ENVIRONMENT if lws is None else lws)}


def command_line(container, objects, values=None):
    """(words of command and args with variables put in, names of variables that are not set);
    `values` is the container's environment."""
    values = environment(container, objects) if values is None else values
    missing = []

    def put_in(match):
        if match[1] not in values:
            missing.append(match[1])
        return values.get(match[1], match[0])

    words = [*(container.get("command") or []), *(container.get("args") or [])]
    return [VARIABLE.sub(put_in, str(word)) for word in words], missing


def port_number(container, port):
    """The number of a probe's or service's port of this container, or None."""
    for declared in container.get("ports") or []:
        if port in (declared.get("name"), declared.get("containerPort")):
            return declared["containerPort"]
    return None


def selects(selector, labels):
    """Whether a label selector (matchLabels, matchExpressions) takes these labels."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        value, values = labels.get(term["key"]), term.get("values") or []
        fits = {"In": value in values, "NotIn": value not in values,
                "Exists": value is not None, "DoesNotExist": value is None}
        if not fits[term["operator"]]:
            return False
    return True
