"""Packets between the stages are dropped without a word, while both stages hear the scheduler."""

import json
import pathlib
import subprocess
import sys

import cut_link
import pytest

PROBE = f"""
ip link set lo up && ip link add {cut_link.DEVICE} type veth peer name {cut_link.DEVICE}p &&
mount -t sysfs sysfs /sys && tc qdisc add dev lo clsact &&
tc filter add dev lo ingress protocol ip pref 1 bpf da bytecode '{cut_link.DROP}'
"""
INSIDE = ["unshare", "--net", "--mount"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    probe = subprocess.run([*INSIDE, "sh", "-c", PROBE], capture_output=True, text=True,
                           check=False)
    if probe.returncode != 0:
        pytest.skip(f"this machine cannot drop packets in a network namespace: {probe.stderr}")
    script = pathlib.Path(cut_link.__file__)
    ran = subprocess.run([*INSIDE, "setpriv", "--pdeathsig", "TERM", sys.executable, script,
                          tmp_path_factory.mktemp("cut")], capture_output=True, text=True,
                         check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-8000:]
    told = json.loads(ran.stdout)
    print(f"cuts: {told['cuts']}")
    return told


def test_it_is_noticed_before_it_is_healed_and_costs_a_pause(seen):
    """It heals a link only once the group is not ready for it."""
    assert len(seen["cuts"]) == 2, seen
    # Who notices is the watch over the links, after 1.1 s; else it would be a step's time-out, 30 s
    # by default and ten minutes here. The limit tells one from the other and judges no speed: a
    # machine with other work may take some seconds to run everybody once.
    assert all(one["noticed"] < 10 for one in seen["cuts"]), seen
    assert (seen["lost"], seen["different"], seen["asked_again"]) == (0, 0, 0), seen
    assert seen["answered"] > 0


def test_the_log_names_the_link(seen):
    assert any("from stage 0 to stage 1 is cut" in line or "from stage 1 to stage 0 is cut" in line
               for line in seen["named"]), seen["tail"]


def test_nobody_is_killed_for_it(seen):
    """Not even while the link stays cut for long: the group is not ready, and says why."""
    assert not any(one["ready_meanwhile"] for one in seen["cuts"]), seen
    assert seen["same_processes"], seen["tail"]
    assert seen["unreached"], seen["tail"]
    assert seen["status"] == 0, seen["tail"]
