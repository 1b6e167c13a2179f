"""Processes die, hang and lose each other under load: a pause for clients, the same bytes in the
end."""

import concurrent.futures
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import openai
import pytest
import running_group
import steady_load
from running_group import fetch, wait_until

ROLES = ("gateway", "scheduler", "model-loader", "stage-worker-0", "stage-worker-1")
CLIENTS = 6


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """One group for all tests here; its processes are not the same at the end."""
    running = running_group.RunningGroup(tmp_path_factory.mktemp("lasting"),
                                         "--max-restarts", "1000", stages=2, ranks=2)
    try:
        yield running.wait_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_tail()


@pytest.fixture(scope="module")
def questions_and_answers(lasting):
    bodies = steady_load.questions(lasting.model, 8)
    return bodies, steady_load.solo(lasting.port, bodies)


@pytest.fixture
def load(lasting, questions_and_answers):
    bodies, answers = questions_and_answers
    wait_until(lasting.ready, "ready")
    running = steady_load.SteadyLoad(lasting.port, bodies, answers, CLIENTS)
    with running:
        wait_until(lambda: running.answered >= CLIENTS, "a first answer for everyone")
        yield running
        before = running.answered
        wait_until(lambda: running.answered >= before + CLIENTS, "answers after the last fault")
    assert running.lost == 0, running.problems
    assert running.different == 0, running.problems
    assert running.error_events == 0, running.problems
    assert lasting.leftovers() == {}


def wait_tokens(load, since):
    wait_until(lambda: load.arrivals(since), "a token")


def replace(group, name, number=signal.SIGKILL):
    """Sends a signal to a process and waits until the group is whole again."""
    pid = group.pids[name]
    os.kill(pid, number)
    group.wait_replaced(name, pid)
    wait_until(group.ready, f"ready after {name}")


def test_twenty_random_kills(lasting, load):
    """Only the gateway's own clients have to ask again."""
    generator = random.Random(20)
    gateway_kills = 0
    times = {}
    harm = load.harm()
    for _ in range(20):
        name = generator.choice(ROLES)
        steady_load.kill_and_time(lasting, load, name, times)
        if name == "gateway":
            gateway_kills += 1
        else:
            assert load.harm() == harm, (name, load.problems)
        time.sleep(generator.random() * 0.2)  # the next one strikes anywhere
        harm = load.harm()
    print("\n".join(steady_load.describe_times(times)))
    assert load.asked_again <= CLIENTS * gateway_kills, load.problems
    assert 0 < gateway_kills < 20


@pytest.mark.parametrize("name", ["stage-worker-0", "stage-worker-1", "scheduler"])
def test_a_process_that_is_stopped(lasting, load, name):
    replace(lasting, name, signal.SIGSTOP)
    wait_tokens(load, time.monotonic())
    assert load.harm() == (0, 0), load.problems


def num_losses(group):
    """Stages that the scheduler has lost so far, of whatever cause."""
    return sum(value for name, value in group.metrics("scheduler").items()
               if name.startswith("baton_scheduler_stage_losses_total{"))


def test_cut_connections_to_the_scheduler(lasting, load):
    port = lasting.grpc_ports["scheduler"]
    for attempt in range(3):
        losses = num_losses(lasting)
        cut = subprocess.run(["ss", "-K", "dst", "127.0.0.1", "dport", "=", f":{port}"],
                             capture_output=True, text=True, check=False)
        if "ESTAB" not in cut.stdout:
            assert attempt == 0, "connections were cut once, but not again"
            pytest.skip(f"this machine cannot cut connections: {cut.stderr}")
        wait_until(lambda: num_losses(lasting) > losses,  # noqa: B023
                   "the loss is noticed")
        wait_until(lasting.ready, "ready after the cut")
        wait_tokens(load, time.monotonic())
    assert load.harm() == (0, 0), load.problems


def ports_between(pid, other):
    """Local ports of the established TCP connections that lead from one process to another."""
    ends = {}  # (local, remote) port -> pid
    lines = subprocess.run(["ss", "-tnpH", "state", "established"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    for line in lines:
        fields = line.split()
        local, remote = (int(address.rsplit(":", 1)[1]) for address in fields[2:4])
        owner = re.search(r"pid=(\d+)", line)
        if owner:
            ends[local, remote] = int(owner.group(1))
    return [local for (local, remote), owner in ends.items()
            if owner == pid and ends.get((remote, local)) == other]


def test_cut_connections_between_the_stages(start_group):
    """Both live, both hear the scheduler: only they know. Waiting for the step to time out is not
    the way."""
    group = start_group("--step-timeout", "600s", "--ucx-transports", "tcp")
    bodies = steady_load.questions(group.model, 4)
    answers = steady_load.solo(group.port, bodies)
    with steady_load.SteadyLoad(group.port, bodies, answers, 2) as load:
        for attempt in range(2):
            wait_until(lambda: load.arrivals(time.monotonic() - 1), "tokens flow")
            ports = ports_between(group.pids["stage-worker-0"], group.pids["stage-worker-1"])
            assert ports, "they are joined by TCP"
            for port in ports:
                cut = subprocess.run(["ss", "-K", "src", "127.0.0.1", "sport", "=", f":{port}"],
                                     capture_output=True, text=True, check=False)
            if "ESTAB" not in cut.stdout:
                assert attempt == 0, "connections were cut once, but not again"
                pytest.skip(f"this machine cannot cut connections: {cut.stderr}")
            since = time.monotonic()
            wait_until(lambda: load.arrivals(since + 0.5), "tokens again", timeout=30)  # noqa: B023
    assert (load.lost, load.different, load.harm()) == (0, 0, (0, 0)), load.problems


def test_rolling_restart(lasting, load):
    for name in ("model-loader", "stage-worker-0", "stage-worker-1", "scheduler", "gateway"):
        if name == "gateway":  # those of its clients whom it can no longer take ask the next one
            assert load.harm() == (0, 0), load.problems
        replace(lasting, name, signal.SIGTERM)
        wait_tokens(load, time.monotonic())
    assert load.asked_again == 0, load.problems


def test_unmodified_client_survives_a_dead_gateway(lasting, questions_and_answers):
    ask = {"model": lasting.model, "prompt": "What is 17 + 25?", "temperature": 0,
           "max_tokens": 200,
           "extra_body": {"ignore_eos": True}}
    with openai.OpenAI(base_url=lasting.endpoint, api_key="none", timeout=60) as client:
        expected = client.completions.create(**ask).choices[0].text
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            steps = lasting.metrics("scheduler")["baton_scheduler_steps_total"]
            answer = pool.submit(lambda: client.completions.create(**ask))
            wait_until(lambda: lasting.metrics("scheduler")["baton_scheduler_steps_total"] > steps,
                       "the request runs")
            replace(lasting, "gateway")
            assert answer.result().choices[0].text == expected
    assert lasting.leftovers() == {}, "the orphan is there"


def test_ready_and_live_tell_the_truth_meanwhile(lasting, questions_and_answers):
    wait_until(lasting.ready, "ready")
    pid = lasting.pids["stage-worker-1"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: fetch(lasting.base_url + "/health/ready")[0] == 503, "not ready")
    assert fetch(lasting.base_url + "/health/live")[0] == 200
    assert fetch(lasting.metrics_urls["scheduler"].replace("metrics", "health/live"))[0] == 200
    lasting.wait_replaced("stage-worker-1", pid)
    wait_until(lasting.ready, "ready again")
    assert lasting.metrics("scheduler")["baton_scheduler_recovery_seconds_count"] >= 1


def test_a_loader_that_dies_while_weights_load(start_group):
    group = start_group(ready=False, may_die=True)
    loader = wait_until(lambda: child_named(group.process.pid, "baton-model-load"), "a loader")
    wait_until(lambda: "[model-loader]" in group.log.read_text(), "the loader's first words")
    os.kill(loader, signal.SIGKILL)
    group.wait_ready()
    assert "model-loader (pid" in group.log.read_text()
    assert "starting it again" in group.log.read_text()


def child_named(parent, name):
    """Pid of the child of that name (15 characters), or None."""
    for child in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == name[:15]:
                return int(child)
        except OSError:
            continue
    return None
