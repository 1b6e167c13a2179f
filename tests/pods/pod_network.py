"""Network namespaces joined by a bridge, one per pod, with a DNS server; needs root."""

import concurrent.futures
import ctypes
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

PREFIX = "10.88.0."
PATIENCE_S = 60
POLL_S = 0.05
DOMAIN = "svc.cluster.local"
CLONE_NEWNET = 0x40000000
# Ends with this process, whatever happens to it.
BOUND = ["setpriv", "--pdeathsig", "KILL"]


def is_allowed():
    """Whether this machine lets us make network and mount namespaces."""
    script = "ip link add x type bridge && test -w /proc/sys/net/ipv4/ip_local_reserved_ports"
    probe = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script],
                           capture_output=True, check=False)
    return probe.returncode == 0


def _hold_namespace():
    """A process whose only work is to keep a new network namespace."""
    holder = subprocess.Popen([*BOUND, "unshare", "--net", "sh", "-c",
                               "ip link set lo up && echo up && exec sleep infinity"],
                              stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "up\n"
    return holder


class PodNetwork:
    """The pods' network. `run` calls functions inside of it, as the kubelet and clients would."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._numbers = itertools.count(2)
        self._names_file = self.folder / "names.json"
        self.set_names({})
        self._holder = _hold_namespace()
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("addr", "add", f"{PREFIX}1/24", "dev", "bridge")
        self._ip("link", "set", "bridge", "up")
        self._dns_log = self.folder / "dns.log"
        with self._dns_log.open("w") as log:
            self._dns = subprocess.Popen(
                [*BOUND, *self._enter(), sys.executable,
                 pathlib.Path(__file__).parent / "dns_stub.py", f"{PREFIX}1", self._names_file],
                stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while self._dns_log.read_text() == "":
            assert self._dns.poll() is None and time.monotonic() < deadline
            time.sleep(POLL_S)
        self.resolv_conf = self.folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {PREFIX}1\nsearch default.{DOMAIN} {DOMAIN} "
                                    "cluster.local\noptions ndots:5\n")
        self._inside = self.threads(1)

    def _enter(self):
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def _ip(self, *words):
        subprocess.run([*self._enter(), "ip", *words], check=True)

    def set_names(self, names):
        """Replaces what the DNS knows: name without domain -> addresses."""
        fresh = self._names_file.with_suffix(".new")
        fresh.write_text(json.dumps({f"{name}.{DOMAIN}": value for name, value in names.items()}))
        fresh.rename(self._names_file)

    def denials(self, name):
        """How often the DNS was asked for the address of this pod, and did not know it."""
        return self._dns_log.read_text().splitlines().count(f"unknown {name}.{DOMAIN}")

    def threads(self, count):
        """An executor whose threads live in this network."""
        return concurrent.futures.ThreadPoolExecutor(count, initializer=self._move_thread)

    def _move_thread(self):
        with open(f"/proc/{self._holder.pid}/ns/net", encoding="ascii") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def run(self, function, *arguments):
        return self._inside.submit(function, *arguments).result()

    def add_pod(self, sysctls):
        """(holder process, address) of a new namespace on the bridge, whose device is eth0.
        `sysctls`: name -> value; names of the kernel's network."""
        number = next(self._numbers)
        holder = _hold_namespace()
        device = f"pod{number}"
        self._ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns",
                 str(holder.pid))
        self._ip("link", "set", device, "master", "bridge", "up")
        enter = [*_enter_pod(holder), "ip"]
        subprocess.run([*enter, "addr", "add", f"{PREFIX}{number}/24", "dev", "eth0"], check=True)
        subprocess.run([*enter, "link", "set", "eth0", "up"], check=True)
        for name, value in sysctls.items():
            set_sysctl(holder, name, value)
        return holder, f"{PREFIX}{number}"

    def close(self):
        self._inside.shutdown()
        for process in (self._dns, self._holder):
            process.kill()
            process.wait()
        self._holder.stdout.close()


def _enter_pod(holder):
    return ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]


def set_sysctl(holder, name, value):
    """Of a pod's network alone."""
    script = 'echo "$1" >"/proc/sys/$0"'
    subprocess.run([*_enter_pod(holder), "sh", "-c", script, name.replace(".", "/"), value],
                   check=True)


def ports_given(holder):
    """The ports that a pod's kernel gives to listeners that name none, until it has no more."""
    script = """
import socket
kept = []
try:
    while True:
        kept.append(socket.socket())
        kept[-1].bind(("0.0.0.0", 0))
except OSError:
    print(*(item.getsockname()[1] for item in kept[:-1]))
"""
    given = subprocess.run([*_enter_pod(holder), sys.executable, "-c", script],
                           capture_output=True, text=True, check=True)
    return {int(word) for word in given.stdout.split()}


def in_namespace(holder, resolv_conf, words):
    """A command line that runs `words` in a pod's network, with its resolver."""
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return [*BOUND, *_enter_pod(holder), "unshare", "--mount", "--propagation", "private",
            "sh", "-c", script, os.fspath(resolv_conf), *words]
