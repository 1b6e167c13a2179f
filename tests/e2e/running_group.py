"""A group of Baton's processes, started with `baton serve` for a test."""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", ROOT / "build/release/bin"))
DEMO_MODEL = ROOT / "tests/data/tiny-r1"

# For groups in which no process hangs, though one may be killed: a machine on which others have the
# processors for a while is no reason to replace more.
PATIENT = ("--liveness-timeout", "30s")

# The groups of the tests are on this machine: no proxy of the environment applies.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url, timeout=10):
    """(status code, text) of a GET."""
    try:
        with _OPENER.open(url, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def complete(group, prompt, **fields):
    """(status code, text) of a short text completion without a client library."""
    body = {"model": group.model, "prompt": prompt, "max_tokens": 8, **fields}
    request = urllib.request.Request(group.endpoint + "/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return fetch(request, timeout=60)


def alive(pid):
    """Whether the process runs: not one that has ended and waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, what, timeout=60):
    """Polls until `condition()` is truthy and returns its value; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s: {what}")


def parse_metrics(text):
    """Prometheus text as {name with labels: value}."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples


# What scheduler and gateway count of what they hold for requests; all are 0 when nobody asks.
HELD = {
    "scheduler": ("baton_scheduler_running_sequences", "baton_scheduler_waiting_sequences",
                  "baton_scheduler_paused_sequences", "baton_scheduler_suspended_sequences",
                  "baton_scheduler_kv_blocks_used"),
    "gateway": ("baton_gateway_live_requests", "vllm:num_requests_running",
                "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
}


def held(role, samples):
    """{metric: value} of what a process of the role holds for requests, by its metrics; {}:
    nothing."""
    found = {}
    for metric in HELD[role]:
        values = {name: value for name, value in samples.items() if name.split("{")[0] == metric}
        assert values, f"{role} has no {metric}"
        found.update(values)
    return {name: value for name, value in found.items() if value}


class RunningGroup:
    """Attributes once ready:
    base_url   "http://127.0.0.1:PORT" of the gateway; endpoint is base_url + "/v1"
    port, grpc_port
    model      name to send in requests
    pids       {"gateway": pid, "scheduler": ..., "model-loader": ..., "stage-worker-0": ...}
    metrics_urls, grpc_ports   the same keys
    state_file, log   what `baton serve --state-file` wrote; the log of all processes
    """

    def __init__(self, folder, *flags, model_dir=DEMO_MODEL, model="tiny-r1", stages=2, ranks=2):
        folder.mkdir(parents=True, exist_ok=True)
        self.model = model
        self.log = folder / "serve.log"
        self.state_file = folder / "group.json"
        command = [BIN / "baton", "serve", model_dir, "--served-model-name", model,
                   "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0",
                   "--pipeline-parallel-size", str(stages), "--tensor-parallel-size", str(ranks),
                   "--state-file", self.state_file, *flags]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log,
                                            stderr=subprocess.STDOUT)

    def wait_ready(self, timeout=120):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"baton serve ended by {self.process.returncode}:\n"
                                     f"{self.log_tail()}")
            return self.state_file.exists()

        wait_until(ready, f"a ready group; its log:\n{self.log}", timeout)
        return self.read_state()

    def read_state(self):
        """Takes in pids and ports as `baton serve` tells them now."""
        state = json.loads(self.state_file.read_text())
        self.endpoint = state["endpoint"]
        self.base_url = self.endpoint.removesuffix("/v1")
        self.pids = {}
        self.metrics_urls = {}
        self.grpc_ports = {}
        for member in state["processes"]:
            stage = member["role"] == "stage-worker"
            name = f"{member['role']}-{member['index']}" if stage else member["role"]
            self.pids[name] = member["pid"]
            self.grpc_ports[name] = member["ports"]["grpc"]
            port = member["ports"]["metrics"]
            self.metrics_urls[name] = f"http://127.0.0.1:{port}/metrics"
            if member["role"] == "gateway":
                self.port = member["ports"]["http"]
                self.grpc_port = member["ports"]["grpc"]
        return self

    def wait_replaced(self, name, pid, timeout=30):
        """Waits until the process `name` is no longer `pid`; returns the new one's."""
        wait_until(lambda: self.read_state().pids[name] != pid, f"a new {name}", timeout)
        return self.pids[name]

    def ready(self):
        """Whether the gateway says that a token can be produced."""
        try:
            return fetch(self.base_url + "/health/ready", timeout=2)[0] == 200
        except OSError:
            return False

    def metrics(self, name):
        """Samples of one process: {name with labels: value}."""
        code, text = fetch(self.metrics_urls[name])
        assert code == 200, text
        return parse_metrics(text)

    def leftovers(self, timeout=60):
        """{metric: value} of what is held for requests though nobody asks any more: {} as soon as
        it is nothing, or what it is after `timeout` seconds. OSError if scheduler or gateway do not
        answer."""

        def now():
            return {name: value for role in HELD
                    for name, value in held(role, self.metrics(role)).items()}

        deadline = time.monotonic() + timeout
        while (left := now()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def log_tail(self, lines=60):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, timeout=60):
        """Stops the group in order; returns the exit status of `baton serve`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its children die with it
            self.process.wait()
            raise
