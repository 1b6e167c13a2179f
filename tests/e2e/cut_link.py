"""A group whose stages reach each other over a link of their own, which drops packets without a
word while all else goes on. Run by test_cut_link.py in a network namespace of its own; prints what
it saw as JSON.

The link is a device of its own with an address of its own, so that a filter can tell its packets
from gRPC's.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import running_group
import steady_load
from running_group import fetch, wait_until

DEVICE, ADDRESS = "ucx0", "10.99.0.1"
# A program of tc's classifier: packets to ADDRESS are dropped (2), others pass (-1). Offset 30:
# destination.
_NUMBER = int.from_bytes(bytes(int(part) for part in ADDRESS.split(".")), "big")
DROP = f"4,32 0 0 30,21 0 1 {_NUMBER},6 0 0 2,6 0 0 4294967295"
SHORT_CUT_S = 3
LONG_CUT_S = 12


def run(*words):
    subprocess.run(words, check=True, capture_output=True, text=True)


def lay_link():
    run("ip", "link", "set", "lo", "up")
    run("mount", "-t", "sysfs", "sysfs", "/sys")  # UCX looks for devices there
    run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE + "p")
    run("ip", "addr", "add", f"{ADDRESS}/24", "dev", DEVICE)
    run("ip", "link", "set", DEVICE, "up")
    run("ip", "link", "set", DEVICE + "p", "up")
    run("tc", "qdisc", "add", "dev", "lo", "clsact")


def cut():
    run("tc", "filter", "add", "dev", "lo", "ingress", "protocol", "ip", "pref", "1", "bpf", "da",
        "bytecode", DROP)


def heal():
    run("tc", "filter", "del", "dev", "lo", "ingress")


def lines_with(group, text):
    return [line for line in group.log.read_text(errors="replace").splitlines() if text in line]


def cut_for(group, load, seconds):
    """Cuts the link under load; seconds until the group was not ready, and after healing to the
    next token."""
    wait_until(lambda: load.arrivals(time.monotonic() - 0.5), "tokens flow")
    cut()
    began = time.monotonic()
    wait_until(lambda: fetch(group.base_url + "/health/ready")[0] == 503, "not ready")
    noticed = time.monotonic() - began
    time.sleep(max(0, seconds - noticed))
    ready_meanwhile = group.ready()
    heal()
    healed = time.monotonic()
    wait_until(group.ready, "ready again")
    wait_until(lambda: load.arrivals(time.monotonic() - 0.05), "tokens again")
    return {"noticed": noticed, "ready_meanwhile": ready_meanwhile,
            "resumed": load.arrivals(healed)[0] - healed}


def main():
    lay_link()
    group = running_group.RunningGroup(pathlib.Path(sys.argv[1]), *running_group.PATIENT,
                                       "--step-timeout", "600s", "--ucx-transports", "tcp",
                                       "--ucx-net-devices", DEVICE)
    try:
        group.wait_ready()
        pids = dict(group.pids)
        bodies = steady_load.questions(group.model, 4)
        answers = steady_load.solo(group.port, bodies)
        with steady_load.SteadyLoad(group.port, bodies, answers, 2) as load:
            cuts = [cut_for(group, load, seconds) for seconds in (SHORT_CUT_S, LONG_CUT_S)]
        seen = {"cuts": cuts, "same_processes": group.read_state().pids == pids,
                "lost": load.lost, "different": load.different, "asked_again": load.asked_again,
                "answered": load.answered, "problems": load.problems,
                "named": lines_with(group, "is cut"),
                "unreached": lines_with(group, "reaching the next stage")}
    finally:
        status = group.stop()
    print(json.dumps({**seen, "status": status, "tail": group.log_tail(120)}))


if __name__ == "__main__":
    os.environ.pop("UCX_NET_DEVICES", None)
    main()
