"""A group's pods start in any order, come back one by one, and keep what their form promises."""

import random

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
