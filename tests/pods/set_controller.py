"""Pods of LeaderWorkerSets and DisaggregatedSets, named and told as their controllers do."""

import concurrent.futures
import threading
import time

import pod
import pods

NAMESPACE = "default"
REVISION = "0a1b2c3d"


class Cluster:
    """The pods of a set of rendered objects, with one network and its names."""

    def __init__(self, objects, network, options):
        self.objects = objects
        self.network = network
        self.options = options
        self.pods = {}  # name -> Pod
        self.before_close = []  # functions
        self.choosing = threading.Lock()  # held by a client from its choice until it is answered
        self._lock = threading.Lock()
        self._plans = {}  # name -> (template, variables, set, leader, restart policy)
        for item in objects:
            spec = item.content.get("spec") or {}
            if item.kind == "LeaderWorkerSet":
                self._plan_set(item.name, item, spec)
            elif item.kind == "DisaggregatedSet":
                for role in spec["roles"]:
                    self._plan_set(f"{item.name}-0-{REVISION}-{role['name']}", item, role["spec"],
                                   role["name"])
        # Processes end with the thread that started them: these stay until the cluster is closed.
        self._makers = concurrent.futures.ThreadPoolExecutor(len(self._plans))

    def _plan_set(self, name, owner, spec, role=None):
        size = spec["leaderWorkerTemplate"].get("size", 1)
        policy = spec["leaderWorkerTemplate"].get("restartPolicy", "RecreateGroupOnPodRestart")
        places = [template for template in pods.pod_templates([owner])
                  if role is None or template.place == role]
        templates = [template for template in places for _ in range(template.count)]
        assert len(templates) == size
        for group in range(spec.get("replicas", 1)):
            leader = f"{name}-{group}"
            for index, template in enumerate(templates):
                lws = {"LWS_LEADER_ADDRESS": f"{leader}.{name}.{NAMESPACE}",
                       "LWS_GROUP_SIZE": str(size), "LWS_WORKER_INDEX": str(index)}
                full = leader if index == 0 else f"{leader}-{index}"
                self._plans[full] = (template, lws, name, leader, policy)

    def names(self):
        """Names of the pods that there should be."""
        return list(self._plans)

    def group_of(self, name):
        leader = self._plans[name][3]
        return [other for other, plan in self._plans.items() if plan[3] == leader]

    def policy_of(self, name):
        return self._plans[name][4]

    def pods_with(self, role):
        return [name for name, plan in self._plans.items() if role in plan[0].roles]

    def create(self, name):
        """A pod that gets its address and name before its containers start, as in a cluster."""
        template, lws, _, _, _ = self._plans[name]
        made = pod.Pod(name, template, self.objects, lws, self.network, self.options)
        with self._lock:
            self.pods[name] = made
            self._publish()
        made.start()
        return made

    def create_all(self, order):
        """Creates pods beside each other, begun in this order."""
        for started in [self._makers.submit(self.create, name) for name in order]:
            started.result()

    def replace(self, name):
        """Deletes a pod and makes the next of its name, with another address."""
        statuses = self.delete(name)
        self.create(name)
        return statuses

    def delete(self, name):
        gone = self.pods[name]
        gone.terminating = True  # no client chooses it any more
        with self.choosing:
            pass
        statuses = gone.delete()
        with self._lock:
            del self.pods[name]
            self._publish()
        return statuses

    def restart_container(self, name, container):
        """A container dies; what follows is the restart policy's."""
        self.pods[name].containers[container].crash()
        if self.policy_of(name) == "RecreateGroupOnPodRestart":
            self.recreate_group(self.group_of(name))

    def restart_ended(self):
        """What kubelet does with containers that end by themselves. It waits ten seconds and more
        before the second start; here each start is at once, and a crash loop never gets ready."""
        for name, running in list(self.pods.items()):
            for container in running.ended_containers():
                container.restart()
                if self.policy_of(name) == "RecreateGroupOnPodRestart":
                    self.recreate_group(self.group_of(name))
                    return

    def recreate_group(self, group):
        """The leader ends first, its workers when it has gone."""
        for name in group:
            self.delete(name)
        self.create_all(group)

    def roll(self):
        """A rolling update of a LeaderWorkerSet: group by group, from the last to the first."""
        groups = {tuple(self.group_of(name)) for name in self._plans}
        for group in sorted(groups, reverse=True):
            self.recreate_group(list(group))
            self.await_ready(group)

    def _publish(self):
        """Pods by name and subdomain, Services by their selectors, ready or not."""
        names = {}
        for name, running in self.pods.items():
            names[f"{name}.{self._plans[name][2]}.{NAMESPACE}"] = [running.address]
        for item in self.objects:
            if item.kind == "Service":
                selector = {"matchLabels": item.content["spec"]["selector"]}
                names[f"{item.name}.{NAMESPACE}"] = [
                    running.address for running in self.pods.values()
                    if pods.selects(selector, running.template.labels)]
        self.network.set_names(names)

    def endpoints(self):
        """Addresses of ready gateways: those behind ds-leader."""
        with self._lock:
            candidates = [running for running in self.pods.values()
                          if "gateway" in running.template.roles]
        return [running.address for running in candidates if running.is_ready()]

    def await_ready(self, names=None):
        deadline = time.monotonic() + pod.PATIENCE_S
        waiting = list(names or self._plans)
        while waiting:
            self.restart_ended()
            waiting = [name for name in waiting if not self.pods[name].is_ready()]
            assert time.monotonic() < deadline, self.report(waiting)
            if waiting:
                time.sleep(pod.POLL_S)

    def report(self, names):
        lines = [f"not ready: {', '.join(names)}"]
        for running in self.pods.values():
            for container in running.containers.values():
                lines.append(f"--- {running.name} {container.name}, status "
                             f"{container.process.poll()}, restarts {container.restarts}\n"
                             f"{container.log_tail()}")
        return "\n".join(lines)

    def close(self):
        for stop in self.before_close:
            stop()
        for running in self.pods.values():
            running.remove()
        self._makers.shutdown()
