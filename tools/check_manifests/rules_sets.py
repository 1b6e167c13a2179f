"""What the webhooks of LeaderWorkerSet and DisaggregatedSet refuse, and what makes a group that
never gets ready."""

import re

import pods
from context import about

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
LONGEST_SET = 51           # leaves room for the index of group and worker in a pod's name
LONGEST_SET_AND_ROLE = 47  # of a DisaggregatedSet; a revision comes between
SUBGROUP_TOPOLOGY = "leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology"
EXCLUSIVE = "exclusive-topology"


def check(context):
    for item in context.of_kind("LeaderWorkerSet"):
        if not DNS_LABEL.fullmatch(item.name) or len(item.name) > LONGEST_SET:
            yield about(item, f"the name has to be a DNS label of at most {LONGEST_SET} characters")
        yield from _group(item, item.content.get("spec") or {}, "")
        yield from _annotations(item)
    for item in context.of_kind("DisaggregatedSet"):
        yield from _disaggregated(item)
    yield from _stages(context)
    yield from _leader_ready(context)


def _group(item, group, prefix):
    template = group.get("leaderWorkerTemplate") or {}
    size = template.get("size", 1)
    rolling = (group.get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
    if _zero(rolling.get("maxUnavailable", 1)) and _zero(rolling.get("maxSurge", 0)):
        yield about(item, f"{prefix}maxUnavailable and maxSurge are both 0: "
                          "nothing could be updated")
    policy = template.get("subGroupPolicy")
    if policy is None:
        return
    part = policy.get("subGroupSize") or 0
    if part < 1:
        yield about(item, f"{prefix}subGroupPolicy needs a subGroupSize")
    elif policy.get("subGroupPolicyType") == "LeaderExcluded":
        if (size - 1) % part:
            yield about(item, f"{prefix}{size - 1} workers do not divide into subgroups of {part}")
    elif size % part and (size - 1) % part:
        yield about(item, f"{prefix}a group of {size} does not divide into subgroups of {part}")


def _zero(value):
    return str(value).rstrip("%") == "0"


def _annotations(item):
    annotations = item.content["metadata"].get("annotations") or {}
    template = (item.content.get("spec") or {}).get("leaderWorkerTemplate") or {}
    if SUBGROUP_TOPOLOGY in annotations and not template.get("subGroupPolicy"):
        yield about(item, f"{SUBGROUP_TOPOLOGY} needs a subGroupPolicy")


def _disaggregated(item):
    spec = item.content.get("spec") or {}
    roles = spec.get("roles") or []
    names = [role.get("name", "") for role in roles]
    if not 2 <= len(roles) <= 10:
        yield about(item, f"{len(roles)} roles; a DisaggregatedSet has 2 to 10")
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield about(item, f"role {name} stands twice")
    for role in roles:
        name = role.get("name", "")
        if len(item.name) + len(name) > LONGEST_SET_AND_ROLE:
            yield about(item, f"name and role {name} have together more than "
                              f"{LONGEST_SET_AND_ROLE} characters")
        if spec.get("slices", 1) > 1 and (role.get("scaling") or {}).get("mode") == "External":
            yield about(item, f"role {name}: scaling External needs slices 1")
        group = role.get("spec") or {}
        rolling = (group.get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
        if "partition" in rolling:
            yield about(item, f"role {name}: a partition is not allowed in a role")
        yield from _group(item, group, f"role {name}: ")
    replicas = [(role.get("spec") or {}).get("replicas", 1) for role in roles]
    if any(replicas) and not all(replicas):
        yield about(item, "replicas are 0 for some roles and not for others")
    placement = (spec.get("placementPolicy") or {}).get("type", "None")
    annotations = item.content["metadata"].get("annotations") or {}
    if placement != "None" and any(EXCLUSIVE in name for name in annotations):
        yield about(item, "exclusive-topology annotations and a placementPolicy exclude each other")


def _settings(context):
    config = pods.by_name(context.objects, "ConfigMap").get("baton-settings")
    return (config.content.get("data") or {}) if config else {}


def _stages(context):
    """Stages and GPUs are as many as the settings say."""
    settings = _settings(context)
    wanted = int(settings.get("BATON_PIPELINE_PARALLEL_SIZE", 1))
    ranks = int(settings.get("BATON_TENSOR_PARALLEL_SIZE", 1))
    stages = [template for template in context.templates
              if any(container["name"] == "stage-worker" for container in template.containers())]
    found = sum(template.count for template in stages)
    if stages and found != wanted:
        yield about(stages[0].owner, f"{found} stage-workers in a group, "
                                     f"BATON_PIPELINE_PARALLEL_SIZE is {wanted}")
    for template in stages:
        limits = [(container.get("resources") or {}).get("limits") or {}
                  for container in template.containers()]
        gpus = sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)
        if gpus not in (0, ranks):
            yield about(template, f"{gpus} GPUs, BATON_TENSOR_PARALLEL_SIZE is {ranks}")


def _leader_ready(context):
    """A gateway is ready when the stages are there; workers that wait for it never come."""
    for template in context.templates:
        spec = template.owner.content.get("spec") or {}
        if (template.place == "leader" and spec.get("startupPolicy") == "LeaderReady"
                and "gateway" in template.roles):
            yield about(template.owner, "startupPolicy LeaderReady: the leader is ready only when "
                                        "its workers are, which would wait for it")
