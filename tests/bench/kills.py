#!/usr/bin/env python3
"""Kills random processes of a group under load: what is lost, what differs, how long are the pauses?

  tests/bench/kills.py [--kills 1000] [--seconds 3600] [--clients 6] [--stages 2] [--ranks 2] [--seed 1]

Every answer is compared with the one that its question got alone. After each kill it waits until the
group is whole and tokens flow (after a gateway's until no client is in a retry any more), and then for up
to 0.3 s. Prints, per role, the time from the kill until the group says that it is not ready, and to the next
token; for the gateway, to the first connection that it accepts. Exits 1 if an answer was lost or differs, if a
client had to ask again though it was not the gateway that died, or if something is left behind.
"""

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
import time

import load_client
import running_group  # on the path since load_client
import steady_load


def time_to_accept(port, killed):
    """Seconds until the port takes a connection again."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return time.monotonic() - killed
        except OSError:
            time.sleep(0.002)


def kill_one(group, load, name, times):
    pid = group.pids[name]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    noticed = steady_load.time_to_notice(group, name, killed)
    if noticed is not None:
        times.setdefault(f"{name}: noticed", []).append(noticed)
    group.wait_replaced(name, pid)
    if name == "gateway":  # the old one is wholly gone: nobody else accepts
        times.setdefault("gateway: accepts", []).append(time_to_accept(group.port, killed))
    running_group.wait_until(group.ready, f"ready after {name}")
    time.sleep(0.3)
    running_group.wait_until(lambda: load.arrivals(max(killed + 0.3, time.monotonic() - 0.05)), "a token")
    times.setdefault(f"{name}: next token", []).append(steady_load.pause_after(load.arrivals(killed), killed))
    if name == "gateway":
        steady_load.wait_fresh(load, running_group.wait_until)


def report(times, done, seconds, load):
    print(f"{done} kills in {seconds:.0f} s; answers: {load.answered} whole, {load.lost} lost, "
          f"{load.different} different, {load.error_events} with an error event; "
          f"asked again after a broken stream: {load.asked_again}, after a refusal or broken connection: "
          f"{load.retried}")
    for line in steady_load.describe_times(times):
        print(line)
    for problem in load.problems:
        print("  " + problem)


def left_behind(group):
    """Metrics that should be zero with nobody around, and are not after a while."""
    wanted = ("running_sequences", "waiting_sequences", "kv_blocks_used")

    def leftovers():
        now = group.metrics("scheduler")
        return {name: now[f"baton_scheduler_{name}"] for name in wanted if now[f"baton_scheduler_{name}"]}

    try:
        running_group.wait_until(lambda: not leftovers(), "nothing left behind", timeout=20)
    except AssertionError:
        return leftovers()
    return {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this long")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", nargs="*", help="kill only these; default: any")
    parser.add_argument("--log", help="keep the log of the group here")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(arguments.log or folder, "--max-restarts", "1000000",
                                  stages=arguments.stages, ranks=arguments.ranks)
        try:
            group.wait_ready()
            roles = arguments.roles or list(group.pids)
            bodies = steady_load.questions(group.model, 8)
            answers = steady_load.solo(group.port, bodies)
            times, done, harmed = {}, 0, []
            began = time.monotonic()
            with steady_load.SteadyLoad(group.port, bodies, answers, arguments.clients) as load:
                harm = load.harm()
                while done < arguments.kills and time.monotonic() < began + arguments.seconds:
                    time.sleep(generator.random() * 0.3)
                    name = generator.choice(roles)
                    kill_one(group, load, name, times)
                    done += 1
                    if load.harm() != harm and name != "gateway":
                        harmed.append((done, name, harm, load.harm()))
                    harm = load.harm()
            leftovers = left_behind(group)
        finally:
            group.stop()
    report(times, done, time.monotonic() - began, load)
    if leftovers:
        print(f"  left behind: {leftovers}")
    for number, name, before, after in harmed:
        print(f"  kill {number}, of {name}: clients asked again, {before} -> {after} times")
    sys.exit(1 if load.lost or load.different or load.error_events or leftovers or harmed else 0)


if __name__ == "__main__":
    main()
