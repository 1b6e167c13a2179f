"""A group's pods start in any order, come back one by one, and keep what their form promises."""

import random
import signal
import socket
import subprocess
import sys

import pod
import pod_network
import pytest
from steady_client import SteadyClient


SLOW = pytest.mark.slow


def forms(first, *others):
    """Runs a test with each form; with the first alone under tools/test --quick."""
    return pytest.mark.parametrize(
        "form", [first, *(pytest.param(form, marks=SLOW) for form in others)])


def start(cluster, seed):
    order = cluster.names()
    random.Random(seed).shuffle(order)
    cluster.create_all(order)
    cluster.await_ready()


def expect_unharmed(client):
    client.stop()
    assert client.failures == []
    assert len(set(client.answers)) == 1  # the same text every time


@forms("compact", "roles", "guide-parity", "per-role-lws")
def test_starts_in_any_order(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=len(form))
    client = SteadyClient(cluster)
    client.await_answers(2)
    expect_unharmed(client)


def test_no_listener_takes_the_port_of_a_program_that_restarts(start_cluster):
    cluster = start_cluster("compact")
    start(cluster, seed=6)
    for item in cluster.pods.values():
        pod_network.set_sysctl(item.holder, "net.ipv4.ip_local_port_range", "50040 50069")
        given = pod_network.ports_given(item.holder)
        assert len(given) > 10
        assert not given & {50051, 50052, 50053, 50054}


@SLOW
def test_stages_ask_for_a_leader_until_its_name_is_known(start_cluster):
    cluster = start_cluster("compact")
    leader, *workers = cluster.names()
    cluster.create_all(workers)
    stages = [cluster.pods[name].containers["stage-worker"] for name in workers]
    attempts = sum(stage.await_line("registering again", times=6) for stage in stages)
    # Each attempt has asked: gRPC alone would ask ever more rarely.
    assert cluster.network.denials(f"{leader}.baton.default") >= attempts
    cluster.create(leader)
    cluster.await_ready()
    client = SteadyClient(cluster)
    client.await_answers(1)
    expect_unharmed(client)


@forms("compact", "roles", "per-role-lws")
def test_stage_pod_that_is_replaced_costs_a_pause(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=1)
    client = SteadyClient(cluster)
    client.await_answers(1)
    for stage in cluster.pods_with("stage-worker"):
        cluster.replace(stage)
        cluster.await_ready()
    client.await_answers(2)
    expect_unharmed(client)


@SLOW
@pytest.mark.parametrize("form", ["compact", "roles"])
def test_scheduler_that_crashes_costs_a_pause(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=2)
    client = SteadyClient(cluster)
    client.await_answers(1)
    cluster.restart_container(cluster.pods_with("scheduler")[0], "scheduler")
    client.await_answers(2)
    expect_unharmed(client)


@SLOW
@pytest.mark.parametrize("form", ["compact", "roles"])
def test_stage_that_crashes_costs_a_pause(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=3)
    client = SteadyClient(cluster)
    client.await_answers(1)
    cluster.restart_container(cluster.pods_with("stage-worker")[0], "stage-worker")
    client.await_answers(2)
    expect_unharmed(client)


@SLOW
def test_stage_that_aborts_by_itself_is_started_again(start_cluster):
    cluster = start_cluster("roles")
    start(cluster, seed=8)
    client = SteadyClient(cluster)
    client.await_answers(1)
    stage = cluster.pods[cluster.pods_with("stage-worker")[0]].containers["stage-worker"]
    stage.process.send_signal(signal.SIGABRT)
    stage.process.wait(pod.PATIENCE_S)
    cluster.await_ready()
    assert stage.restarts == 1
    client.await_answers(2)
    expect_unharmed(client)


@SLOW
@pytest.mark.parametrize("form", ["compact", "roles"])
def test_gateway_pod_that_is_replaced_ends_its_answers_first(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=4)
    client = SteadyClient(cluster)
    client.await_answers(1)
    statuses = cluster.replace(cluster.pods_with("gateway")[0])
    assert set(statuses.values()) == {0}
    cluster.await_ready()
    client.await_answers(2)
    expect_unharmed(client)


@SLOW
def test_group_is_recreated_where_the_policy_says_so(start_cluster):
    cluster = start_cluster("guide-parity")
    start(cluster, seed=5)
    before = {name: running.address for name, running in cluster.pods.items()}
    cluster.restart_container(cluster.names()[-1], "stage-worker")
    cluster.await_ready()
    assert all(cluster.pods[name].address != address for name, address in before.items())
    client = SteadyClient(cluster)
    client.await_answers(1)
    expect_unharmed(client)


@SLOW
@pytest.mark.parametrize("form", ["compact", "guide-parity"])
def test_rolling_update_of_two_groups_fails_no_request(start_cluster, form):
    cluster = start_cluster(form, groups=2)
    start(cluster, seed=6)
    client = SteadyClient(cluster)
    client.await_answers(1)
    cluster.roll()
    client.await_answers(1)
    expect_unharmed(client)


@SLOW
@pytest.mark.parametrize("form", ["roles", "per-role-lws"])
def test_update_of_one_role_after_the_other_costs_pauses(start_cluster, form):
    cluster = start_cluster(form)
    start(cluster, seed=7)
    client = SteadyClient(cluster)
    client.await_answers(1)
    cluster.roll()
    client.await_answers(2)
    expect_unharmed(client)


@forms("compact", "roles", "guide-parity", "per-role-lws")
def test_roles_speak_mutual_tls(start_cluster, form):
    cluster = start_cluster(form, components=["mtls"])
    start(cluster, seed=8)
    client = SteadyClient(cluster)
    client.await_answers(1)
    logs = "".join(container.log.read_text() for running in cluster.pods.values()
                   for container in running.containers.values())
    for role in ("gateway", "scheduler", "stage-worker", "model-loader"):
        assert f"mutual TLS as spiffe://baton/{role}," in logs
    # Who has no certificate is not answered; a loader beside its stage listens to its pod alone.
    answers = {role: cluster.network.run(answer_in_the_clear,
                                         cluster.pods[cluster.pods_with(role)[0]].address, port)
               for role, port in (("scheduler", 50052), ("model-loader", 50054))}
    assert answers["scheduler"] == "nothing"
    assert answers["model-loader"] == ("nothing" if "role" in form else "refused")
    # Each service is its callers' alone.
    for role, port, method, caller in (
            ("scheduler", 50052, "/baton.v1.Stage/Attach", "gateway"),
            ("scheduler", 50052, "/baton.v1.Scheduling/WatchGroup", "stage-worker"),
            ("model-loader", 50054, "/baton.v1.Loading/GetModel", "gateway")):
        holder = cluster.pods[cluster.pods_with(role)[0]].holder
        secret = cluster.options["secrets"].folder(f"baton-rpc-{caller}")
        assert call_status(cluster.network, holder, secret, f"{role}:{port}", method) == \
            "PERMISSION_DENIED"
    # New certificates, and a peer that comes back with them.
    cluster.options["secrets"].renew()
    cluster.restart_container(cluster.pods_with("stage-worker")[0], "stage-worker")
    if cluster.policy_of(cluster.names()[0]) == "None":
        client.await_answers(2)
        expect_unharmed(client)
    else:
        cluster.await_ready()
        client.stop()


CALL = """
import sys, grpc
folder, role, port, method = sys.argv[1:]
key, certificate, ca = (open(f"{folder}/{name}", "rb").read()
                        for name in ("tls.key", "tls.crt", "ca.crt"))
credentials = grpc.ssl_channel_credentials(ca, key, certificate)
options = [("grpc.ssl_target_name_override", role)]
with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
    call = channel.stream_stream(method)(iter([b""]), timeout=20)
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        print(error.code().name)
"""


def call_status(network, holder, secret, target, method):
    """How a call ends that shows a Secret's certificate, from inside the pod that is called."""
    words = [sys.executable, "-c", CALL, str(secret), *target.split(":"), method]
    result = subprocess.run(pod_network.in_namespace(holder, network.resolv_conf, words),
                            capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.strip()


def answer_in_the_clear(address, port):
    """What a gRPC server says to HTTP/2 without TLS; its settings, if it takes it."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            return "settings" if connection.recv(9)[3:4] == b"\4" else "nothing"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "nothing"
