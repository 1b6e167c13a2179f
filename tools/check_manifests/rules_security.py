"""Pods run with the least that they need."""

import re

from context import about, in_container

LOCKING = {"IPC_LOCK"}
SECRET_NAME = re.compile(r"API_KEY|PASSWORD|SECRET|TOKEN$")


def check(context):
    for template in context.templates:
        spec = template.spec
        pod = spec.get("securityContext") or {}
        if spec.get("automountServiceAccountToken") is not False:
            yield about(template, "automountServiceAccountToken is not false")
        if spec.get("enableServiceLinks") is not False:
            yield about(template, "enableServiceLinks is not false: variables of services could be "
                                  "taken for flags")
        if (pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
            yield about(template, "seccompProfile is not RuntimeDefault")
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield about(template, f"{field} is on")
        for container in template.containers():
            yield from _container(template, container, pod)
    for item in context.of_kind("ConfigMap"):
        for name in item.content.get("data") or {}:
            if SECRET_NAME.search(name):
                yield about(item, f"{name} belongs into a Secret")


def _container(template, container, pod):
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    added = set(capabilities.get("add") or [])
    if own.get("allowPrivilegeEscalation") is not False:
        yield in_container(template, container, "allowPrivilegeEscalation is not false")
    if own.get("readOnlyRootFilesystem") is not True:
        yield in_container(template, container, "readOnlyRootFilesystem is not true")
    if own.get("privileged"):
        yield in_container(template, container, "privileged")
    if "ALL" not in (capabilities.get("drop") or []):
        yield in_container(template, container, "does not drop ALL capabilities")
    root = own.get("runAsUser", pod.get("runAsUser")) == 0
    if root and added != LOCKING:
        yield in_container(template, container, "uid 0 is for locking memory: with IPC_LOCK and no "
                                                "other capability")
    if not root and not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield in_container(template, container, "runAsNonRoot is not true")
    if added - LOCKING:
        yield in_container(template, container, f"adds {', '.join(sorted(added - LOCKING))}")
    limits = (container.get("resources") or {}).get("limits") or {}
    for resource in ("cpu", "memory"):
        if resource not in limits:
            yield in_container(template, container, f"no limit of {resource}")
