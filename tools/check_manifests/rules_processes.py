"""Command lines, variables, ports, probes and times to end of the containers."""

import re

import pods
from context import about, in_container

DURATION = re.compile(r"([0-9.]+)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
HEALTH_PAGES = ("/health/live", "/health/ready")
# Flags that name a listening address or port, by program.
LISTENING = {
    "baton-gateway": ("port", "grpc-listen-address", "metrics-address"),
    "baton-scheduler": ("listen-address", "metrics-address"),
    "baton-stage-worker": ("listen-address", "metrics-address"),
    "baton-model-loader": ("listen-address", "metrics-address"),
}
NEED_MODEL = ("baton-gateway", "baton-scheduler", "baton-model-loader")
# Where Linux, unless told otherwise, takes ports for outgoing connections and for listeners of UCX.
TAKEN_AT_WILL = range(32768, 61000)
RESERVING = "net.ipv4.ip_local_reserved_ports"
LEAST_SPARE = 5  # seconds of grace that are left after sleep and drain
MIB = {"Mi": 1, "Gi": 1024}
# Of the gateway: what --max-total-body-mib=0 is, and what of each body it does not count.
USUAL_TOTAL_BODY_MIB = 256
FREE_BODY_KIB = 16


def check(context):
    yield from _variables(context)
    for template in context.templates:
        for container in template.containers():
            yield from _command(context, template, container)
            yield from _bodies(context, template, container)
        for container in template.long_running():
            yield from _ports(context, template, container)
        yield from _taken(context, template)
        yield from _grace(context, template)


def _variables(context):
    """Every BATON_* of a ConfigMap is a flag of some program."""
    known = {flag for flags in context.programs.flags.values() for flag in flags}
    for item in context.of_kind("ConfigMap"):
        for name in item.content.get("data") or {}:
            if name.startswith("BATON_") and _flag(name) not in known:
                yield about(item, f"{name}: no program has a flag --{_flag(name)}")


def _flag(variable):
    return variable.removeprefix("BATON_").lower().replace("_", "-")


def _command(context, template, container):
    words, missing = pods.command_line(container, context.objects)
    for name in missing:
        yield in_container(template, container, f"$({name}) is not set")
    program = words[0] if words else ""
    if program not in (*context.programs.flags, "baton"):
        yield in_container(template, container,
                           f"command {program or 'missing'}: not a program of ours")
        return
    if missing:
        return
    variables = pods.environment(container, context.objects)
    own = {entry["name"] for entry in container.get("env") or []}
    for name in sorted(own):
        if (name.startswith("BATON_") and program != "baton"
                and _flag(name) not in context.programs.flags[program]):
            yield in_container(template, container,
                               f"{name}: {program} has no flag --{_flag(name)}")
    problem = context.programs.complaint(words, variables)
    if problem:
        yield in_container(template, container, problem)
    if program in NEED_MODEL:
        folder = _value(context, program, words, variables, "model")
        paths = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
        if not any(folder == path or folder.startswith(path + "/") for path in paths):
            yield in_container(template, container,
                               f"the model {folder or '(none)'} is in no volume")


def _bodies(context, template, container):
    """Bodies of requests take twice their bytes while their strings grow."""
    words, _ = pods.command_line(container, context.objects)
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory", "")
    if not words or words[0] != "baton-gateway" or limit[-2:] not in MIB:
        return
    variables = pods.environment(container, context.objects)
    try:
        total, largest, connections = (
            int(_value(context, words[0], words, variables, flag))
            for flag in ("max-total-body-mib", "max-body-mib", "max-connections"))
    except ValueError:
        return  # the program says so
    counted = total or max(USUAL_TOTAL_BODY_MIB, largest)
    most = 2 * (counted + connections * FREE_BODY_KIB // 1024)
    if most > int(limit[:-2]) * MIB[limit[-2:]]:
        yield in_container(template, container,
                           f"bodies of requests may take {most} MiB; its limit is {limit}")


def _value(context, program, words, variables, flag):
    """What the program takes for a flag: command line, variable, default."""
    for word in words:
        if word.startswith(f"--{flag}="):
            return word.partition("=")[2]
    return variables.get("BATON_" + flag.upper().replace("-", "_"),
                         context.programs.flags[program].get(flag, ""))


def _listening(context, container):
    """port -> host, of what the container's program listens on."""
    words, _ = pods.command_line(container, context.objects)
    variables = pods.environment(container, context.objects)
    found = {}
    for flag in LISTENING.get(words[0] if words else "", ()):
        value = _value(context, words[0], words, variables, flag)
        if flag == "port":
            found[int(value)] = _value(context, words[0], words, variables, "host")
        elif value:
            host, _, port = value.rpartition(":")
            found[int(port)] = host
    return found


def _ports(context, template, container):
    listening = _listening(context, container)
    if not listening:
        return
    declared = {port["containerPort"] for port in container.get("ports") or []}
    for port in sorted(declared - set(listening)):
        yield in_container(template, container,
                           f"port {port} is declared and nothing listens on it")
    for port in sorted(set(listening) - declared):
        yield in_container(template, container, f"listens on {port}, which is not declared")
    for kind in PROBES:
        probe = container.get(kind)
        if probe is None:
            yield in_container(template, container, f"no {kind}")
        else:
            yield from _probe(template, container, kind, probe, listening)


def _reserved(template):
    """Ports that the pod's network gives to nobody who did not name them."""
    found = set()
    for entry in (template.spec.get("securityContext") or {}).get("sysctls") or []:
        if entry["name"] == RESERVING:
            for part in entry["value"].split(","):
                first, _, last = part.partition("-")
                found |= set(range(int(first), int(last or first) + 1))
    return found


def _taken(context, template):
    """A program that restarts finds its port taken, for as long as the taker lives."""
    ports = {port for container in template.long_running()
             for port in _listening(context, container)}
    for port in sorted(ports & set(TAKEN_AT_WILL) - _reserved(template)):
        yield about(template, f"port {port} may be taken while its program restarts: the sysctl "
                              f"{RESERVING} does not name it")


def _probe(template, container, kind, probe, listening):
    if "httpGet" in probe:
        port, path = probe["httpGet"].get("port"), probe["httpGet"].get("path")
        if path not in HEALTH_PAGES:
            yield in_container(template, container, f"{kind}: {path} is none of {HEALTH_PAGES}")
        if kind == "livenessProbe" and path == "/health/ready":
            yield in_container(template, container, "livenessProbe asks /health/ready: a group "
                                                    "that recovers would be killed")
    elif "grpc" in probe:
        port = probe["grpc"].get("port")
    else:
        yield in_container(template, container, f"{kind}: neither httpGet nor grpc")
        return
    number = pods.port_number(container, port)
    if number is None or number not in listening:
        yield in_container(template, container, f"{kind}: nothing listens on port {port}")
    elif listening[number] in ("127.0.0.1", "localhost", "::1"):
        yield in_container(template, container, f"{kind}: port {number} listens on loopback, where "
                                                "the kubelet does not come")


def seconds(text):
    """Seconds of "1m30s"."""
    return sum(float(value) * SECONDS[unit] for value, unit in DURATION.findall(text))


def _sleep(container):
    stop = ((container.get("lifecycle") or {}).get("preStop")) or {}
    if "sleep" in stop:
        return stop["sleep"]["seconds"]
    command = (stop.get("exec") or {}).get("command") or []
    return int(command[1]) if len(command) == 2 and command[0] == "sleep" else 0


def _grace(context, template):
    grace = template.spec.get("terminationGracePeriodSeconds", 30)
    ends = {}
    for container in template.long_running():
        words, _ = pods.command_line(container, context.objects)
        if not words or words[0] not in LISTENING:
            continue
        variables = pods.environment(container, context.objects)
        drain = seconds(_value(context, words[0], words, variables, "drain-timeout"))
        ends[container["name"]] = _sleep(container), _sleep(container) + drain
    # Sidecars are told to end when the others have.
    sidecars = {item["name"] for item in template.spec.get("initContainers") or []}
    longest = max((end for name, (_, end) in ends.items() if name not in sidecars), default=0)
    last = max([end for name, (_, end) in ends.items() if name in sidecars], default=0)
    if grace < longest + LEAST_SPARE:
        yield about(template, f"terminationGracePeriodSeconds is {grace}; sleep and drain take "
                              f"{longest:.0f} s, and {LEAST_SPARE} more are needed")
    elif last and grace < longest + LEAST_SPARE:
        yield about(template, "no grace is left for the sidecars")
    if {"gateway", "scheduler"} <= set(ends):
        if ends["scheduler"][0] < ends["gateway"][0] or ends["scheduler"][1] < ends["gateway"][1]:
            yield about(template, "the scheduler ends before the gateway that needs it: its sleep "
                                  "and drain have to be as long")
