#!/usr/bin/env python3
"""Kills random processes of a group under load: what is lost, what differs, how long are pauses?

  tests/bench/kills.py [--kills 1000] [--seconds 3600] [--clients 6] [--stages 2] [--ranks 2]
                       [--seed 1]

Every answer is compared with the one that its question got alone. After each kill it waits until
the group is whole and tokens flow (after a gateway's until no client is in a retry any more), and
then for up to 0.3 s. Prints, per role, the time from the kill until the group says that it is not
ready, and to the next token; for the gateway, to the first connection that it accepts.

Exit status 0: as many processes as --kills were killed, or --seconds were over before (it says so),
and every answer was whole and the same. 1: nothing was killed or nothing answered; an answer was
lost or differs, or ended with an error event; a client had to ask again though it was not the
gateway that died; the group did not notice a death or did not heal (the kills end there); or
something is left behind. 2: flags. What was seen is printed in each case.
"""

import argparse
import random
import sys
import tempfile
import time

import load_client
import steady_load  # on the path since load_client


def harmed(kills, last):
    """(number, role, before, after) of the kills between which and the next one clients had to ask
    again, though it was no gateway that died. `kills`: (role, harm just before it); `last`: harm in
    the end."""
    after = [harm for _, harm in kills[1:]] + [last]
    return [(number, role, before, then)
            for number, ((role, before), then) in enumerate(zip(kills, after), 1)
            if then != before and role != "gateway"]


def failures(kills, broken, load, leftovers):
    """What is wrong. `broken`: what the last death led to that ended it all, or None; `load` is
    over."""
    wrong = []
    if not kills:
        wrong.append("nothing was killed")
    if broken:
        wrong.append(f"kill {len(kills)}, of {kills[-1][0]}: {broken}")
    if not load.answered:
        wrong.append("nothing was answered")
    for count, what in ((load.lost, "lost"), (load.different, "different"), (load.error_events,
                                                                             "with an error "
                                                                             "event")):
        if count:
            wrong.append(f"{count} answers {what}")
    wrong += [f"kill {number}, of {role}: clients asked again, {before} -> {after} times"
              for number, role, before, after in harmed(kills, load.harm())]
    if leftovers:
        wrong.append(f"left behind: {leftovers}")
    return wrong


def report(times, num_kills, seconds, load, arguments):
    print(f"{num_kills} kills in {seconds:.0f} s; answers: {load.answered} whole, {load.lost} "
          "lost, "
          f"{load.different} different, {load.error_events} with an error event; "
          f"asked again after a broken stream: {load.asked_again}, after a refusal or broken "
          "connection: "
          f"{load.retried}")
    if num_kills < arguments.kills and seconds >= arguments.seconds:
        print(f"  ended by --seconds {arguments.seconds:g} before {arguments.kills} kills")
    for line in steady_load.describe_times(times):
        print(line)
    for problem in load.problems:
        print("  " + problem)


def kill_at_random(group, load, arguments, times):
    """Kills until there were enough, or it took too long. Returns (role, harm just before it) of
    each kill, and what the last one led to that ended it early, or None."""
    generator = random.Random(arguments.seed)
    roles = arguments.roles or list(group.pids)
    kills = []
    end = time.monotonic() + arguments.seconds
    while len(kills) < arguments.kills and time.monotonic() < end:
        time.sleep(generator.random() * 0.3)  # strikes anywhere
        name = generator.choice(roles)
        kills.append((name, load.harm()))
        try:
            steady_load.kill_and_time(group, load, name, times)
        except (AssertionError, OSError) as error:
            return kills, repr(error)
    return kills, None


def leftovers_of(group):
    try:
        return group.leftovers()
    except OSError as error:
        return repr(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this long")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", nargs="*", help="kill only these; default: any")
    parser.add_argument("--log", help="keep the log of the group here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(arguments.log or folder, "--max-restarts", "1000000",
                                  stages=arguments.stages, ranks=arguments.ranks)
        try:
            group.wait_ready()
            bodies = steady_load.questions(group.model, 8)
            answers = steady_load.solo(group.port, bodies)
            times = {}
            began = time.monotonic()
            with steady_load.SteadyLoad(group.port, bodies, answers, arguments.clients) as load:
                kills, broken = kill_at_random(group, load, arguments, times)
            seconds = time.monotonic() - began
            wrong = failures(kills, broken, load, leftovers_of(group))
            report(times, len(kills), seconds, load, arguments)
            for text in wrong:
                print("WRONG " + text)
        finally:
            group.stop()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
