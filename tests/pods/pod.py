"""One pod of a test: its containers as processes, as a kubelet would run them.

Taken from the template: init containers in order, sidecars and their startup probes, command lines,
variables, probes, the order in which containers end. Not emulated: images, limits, volumes (a
folder's path is put in for the mount's), how long sleeps last (who sleeps longer before SIGTERM is
told after the others have ended).
"""

import http.client
import os
import signal
import subprocess
import time

import pod_network
import pods

PATIENCE_S = 120
POLL_S = 0.1


class Container:
    """One container: a process at a time, and a log of all."""

    def __init__(self, pod, spec):
        self.pod = pod
        self.spec = spec
        self.name = spec["name"]
        self.restarts = 0
        self.log = pod.folder / f"{self.name}.log"
        self.process = None

    def start(self):
        variables = self.pod.variables(self.spec)
        words, missing = pods.command_line(self.spec, self.pod.objects, variables)
        assert not missing, missing
        words = [self.pod.mounted(self.spec, word) for word in words]
        words[0] = os.path.join(self.pod.bin_dir, words[0])
        values = {name: self.pod.mounted(self.spec, value)
                  for name, value in variables.items()}
        kept = {name: value for name, value in os.environ.items()
                if name in ("PATH", "LD_LIBRARY_PATH")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                pod_network.in_namespace(self.pod.holder, self.pod.network.resolv_conf, words),
                env={**kept, **values}, stdout=log, stderr=subprocess.STDOUT)

    def probe(self, kind):
        """Whether a probe of the manifest succeeds."""
        get = self.spec[kind]["httpGet"]
        port = pods.port_number(self.spec, get["port"])
        return self.pod.network.run(_get_is_200, self.pod.address, port, get["path"])

    def await_probe(self, kind):
        deadline = time.monotonic() + PATIENCE_S
        while not self.probe(kind):
            assert self.process.poll() is None, f"{self.name} has ended:\n{self.log_tail()}"
            assert time.monotonic() < deadline, f"{self.name}: {kind} fails:\n{self.log_tail()}"
            time.sleep(POLL_S)

    def await_line(self, text, times):
        """Waits until so many lines of the log have `text`; returns how many have."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.log.read_text(errors="replace").count(text)) < times:
            assert time.monotonic() < deadline, self.log_tail()
            time.sleep(POLL_S)
        return found

    def crash(self):
        """Ends the process as the OOM killer would, and starts it again in the same pod."""
        self.process.kill()
        self.process.wait()
        self.restart()

    def restart(self):
        """Starts an ended process again in the same pod."""
        self.restarts += 1
        self.start()

    def end(self, deadline):
        """SIGTERM, and SIGKILL at the deadline; returns the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def log_tail(self):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-30:])

    def sleep(self):
        stop = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        return stop["sleep"]["seconds"] if "sleep" in stop else 0


def _get_is_200(address, port, path):
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Pod:
    def __init__(self, name, template, objects, lws, network, options):
        self.name = name
        self.template = template
        self.objects = objects
        self.lws = lws
        self.network = network
        self.bin_dir = options["bin_dir"]
        # name of a volume -> folder
        self.volumes = {**options["volumes"], **options["secrets"].volumes(template)}
        security = template.spec.get("securityContext") or {}
        self.holder, self.address = network.add_pod(
            {entry["name"]: entry["value"] for entry in security.get("sysctls") or []})
        self.folder = network.folder / f"{name}-{self.address}"
        self.folder.mkdir()
        self.terminating = False
        self.started = False
        self.containers = {}

    def variables(self, container):
        fields = {"status.podIP": self.address, "metadata.name": self.name}
        return pods.environment(container, self.objects, self.lws, fields)

    def mounted(self, container, text):
        for mount in container.get("volumeMounts") or []:
            if mount["name"] in self.volumes:
                text = text.replace(mount["mountPath"], str(self.volumes[mount["name"]]))
        return text

    def start(self):
        """Runs init containers to their end, sidecars until they have started, then the others."""
        for spec in self.template.spec.get("initContainers") or []:
            container = Container(self, spec)
            container.start()
            if spec.get("restartPolicy") == "Always":
                self.containers[spec["name"]] = container
                container.await_probe("startupProbe")
            else:
                assert container.process.wait(PATIENCE_S) == 0, container.log_tail()
        for spec in self.template.spec["containers"]:
            container = self.containers[spec["name"]] = Container(self, spec)
            container.start()
        self.started = True

    def is_ready(self):
        return self.started and not self.terminating and all(
            container.probe("readinessProbe") for container in self.containers.values())

    def ended_containers(self):
        """Those that have ended though nobody ended their pod."""
        if not self.started or self.terminating:
            return []
        return [item for item in self.containers.values() if item.process.poll() is not None]

    def delete(self):
        """Ends as Kubernetes ends a pod; returns container -> exit status."""
        self.terminating = True
        deadline = time.monotonic() + self.template.spec["terminationGracePeriodSeconds"]
        sidecars = {spec["name"] for spec in self.template.spec.get("initContainers") or []}
        statuses = {}
        mains = [item for name, item in self.containers.items() if name not in sidecars]
        for seconds in sorted({item.sleep() for item in mains}):
            now = [item for item in mains if item.sleep() == seconds]
            for container in now:
                container.process.send_signal(signal.SIGTERM)
            for container in now:
                statuses[container.name] = _await_end(container.process, deadline)
        for name in sidecars & set(self.containers):
            statuses[name] = self.containers[name].end(deadline)
        self.remove()
        return statuses

    def remove(self):
        """Whatever is left ends at once: a node that is lost."""
        self.terminating = True
        for container in self.containers.values():
            if container.process.poll() is None:
                container.process.kill()
                container.process.wait()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


def _await_end(process, deadline):
    try:
        return process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
