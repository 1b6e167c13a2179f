#!/usr/bin/env python3
"""What becomes of a group that is offered more than it can do.

  tests/bench/overload.py [--seconds 20] [--shape 1x1] [--prompt-tokens 32] [--max-tokens 16]

First the knee: the offered rate (open loop, random arrivals) is raised by half until twice in a row
no more is answered than before; the knee is the most that was answered. Then 2, 5 and 10 times the
knee are offered. Of each: goodput (requests answered completely, in the time of the load) against
the knee, time to the first token of what was accepted, what refusals took in the gateway and at the
client, and memory before and after. Client and group share the machine: the ratios of one run say
more than the figures, the generator yields the processor to the service (`--nice`; what it could
not send is not in "offered"), and what each process used of it is printed.

Where there are more cores than stages one is left to this load, the gateway and the scheduler,
which are on other machines than a stage in a cluster: the stages have the others. It prints what is
left; --flag=--cpu-threads=N says otherwise.

Two shares of the knee are printed. The first is of the answers in a second: what gateway,
scheduler, generator and strangers take from the stage-workers lowers it. The second is of the
answers for a second of processor time in the stage-workers: whether refusals, and the bounds of the
queue, make their work worse. The first is below the second by what the stage-workers did not get;
who did is in the lines of the processor. Answers and processor time are both those of the last 80 %
of a load.

Exits 1 if nothing was answered, and unless, at each overload: the second share is at least 95 %; 99
of 100 refusals take the gateway at most 5 ms; 99 of 100 first tokens of what was accepted come
within --max-queue-wait, beyond which a predicted wait is refused; nothing but answers and refusals
came; no process has grown by more than 10 %; and 95 % of the requests that were due were sent
within the load's time (how many are due is drawn; their mean is the multiple that was asked for).
With --no-check, for machines on which others run, it only says so.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time

import load_client
import open_loop
from percentiles import percentile  # on the path since load_client


# What is checked of an overload.
LEAST_SHARE = 0.95  # of the knee, for a second of the stage-workers' processors
LEAST_IN_TIME = 0.95  # of the requests that were due
MOST_GATEWAY_SECONDS = 0.005
MOST_GROWTH = 1.10
# absl::ParseDuration's.
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
LENGTH = r"(\d+\.?\d*|\.\d+)(ns|us|ms|s|m|h)"


def seconds_of(text):
    """Seconds of a duration as Abseil writes them: 1m30s, 1.5h, 0, inf; ValueError for others and
    for negative ones."""
    text = text.removeprefix("+")
    if text in ("0", "inf"):
        return float(text)
    if not re.fullmatch(f"({LENGTH})+", text):
        raise ValueError(f"--max-queue-wait {text}: not a duration")
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(LENGTH, text))


def queue_bound(flags):
    """Seconds of --max-queue-wait: a request is refused if its first step is predicted to begin
    later."""
    bound = "60s"
    for word, following in zip(flags, [*flags[1:], ""]):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == "--max-queue-wait":
            bound = value if equals else following
    return seconds_of(bound)


def failures(times, outcome, knee, bound):
    """What is wrong with an overload of so many times the knee; `bound`: on first tokens,
    seconds."""
    wrong = []
    share = per_compute(outcome) / per_compute(knee)
    if not share >= LEAST_SHARE:
        wrong.append(f"{share * 100:.1f} % of the knee for a second of the stage-workers' "
                     "processors, "
                     f"not {LEAST_SHARE * 100:.0f} %")
    if not outcome["due"] or outcome["in_time"] < LEAST_IN_TIME * outcome["due"]:
        wrong.append(f"{outcome['in_time']} of {outcome['due']} requests that were due were sent "
                     "in time")
    if outcome["refused"] and not outcome["gateway_p99"] <= MOST_GATEWAY_SECONDS:
        wrong.append(f"refusals take the gateway up to {outcome['gateway_p99'] * 1000:g} ms")
    if not outcome["refused"] and times > 1.5:
        wrong.append("nothing was refused")
    first = percentile(outcome["first"], .99)
    if not first <= bound:
        wrong.append(f"first tokens after up to {first * 1000:.0f} ms, not {bound * 1000:.0f} "
                     "(--max-queue-wait)")
    if outcome["other"]:
        wrong.append(f"{outcome['other']} neither answered nor refused")
    return wrong


def grown(before, after):
    """Processes whose memory has grown by too much, in words; MiB by name."""
    return [f"{name} has grown from {before[name]:.1f} to {after[name]:.1f} MiB"
            for name in before if not after[name] <= MOST_GROWTH * before[name]]


def gateway_quantile(before, after, share):
    """Upper bound of the bucket of baton_gateway_refusal_seconds that holds the quantile,
    seconds."""
    counts = {}
    for name, value in after.items():
        if name.startswith("baton_gateway_refusal_seconds_bucket"):
            bound = name.split('le="')[1].split('"')[0]
            counts[float(bound)] = value - before.get(name, 0)
    total = counts.get(float("inf"), 0)
    return next((bound for bound in sorted(counts) if counts[bound] >= share * total), float("nan"))


def processor(group):
    """Seconds of processor time so far, by process."""
    used = {name: load_client.cpu_seconds(pid) for name, pid in group.pids.items()}
    used["generator"] = time.process_time()
    return used


def moment(group):
    """A moment's time, and the processor time that was used until then."""
    return time.perf_counter(), processor(group)


def offer(group, rate, arguments, seconds):
    load = open_loop.OpenLoop(group.port, group.model, arguments.prompt_tokens,
                              arguments.max_tokens)
    before = group.metrics("gateway")

    async def run():
        begin = time.perf_counter()
        sending = asyncio.ensure_future(load.poisson(rate, seconds))
        await asyncio.sleep(seconds * 0.2)  # until then the queue fills
        opened = moment(group)
        await sending
        closed = moment(group)
        await load.settle()
        load.close()
        return begin, opened, closed

    begin, (opened, used_before), (closed, used) = asyncio.run(run())
    after = group.metrics("gateway")
    served = [r for r in load.results if r.complete]
    refused = [r for r in load.results if r.status == 503]
    other = len(load.results) - len(served) - len(refused)
    # A group that holds the rate answers within the load's time what came but for the last moments.
    in_time = [r for r in served if opened <= r.end <= closed]
    return {"offered": len(load.results) / (closed - begin),
            "due": load.due, "in_time": load.in_time,
            "goodput": len(in_time) / (closed - opened),
            "served": len(served), "refused": len(refused), "other": other,
            "first": [r.first - r.sent for r in served],
            "refusal": [r.first - r.sent for r in refused],
            "gateway_p99": gateway_quantile(before, after, 0.99),
            "early": sum(value - before.get(name, 0) for name, value in after.items()
                         if name.startswith("baton_gateway_early_refusals_total")),
            "used": {name: (used[name] - used_before[name]) / (closed - opened) for name in used},
            "retry": [r.retry_after_ms / 1000 for r in refused]}


def per_compute(outcome):
    """Answers for a second of processor time in the stage-workers."""
    compute = sum(share for name, share in outcome["used"].items()
                  if name.startswith("stage-worker"))
    return outcome["goodput"] / max(compute, 1e-9)


def show(name, outcome, knee=None):
    share = ""
    if knee:
        share = (f" = {outcome['goodput'] / knee['goodput'] * 100:.0f} % of the knee, "
                 f"{per_compute(outcome) / per_compute(knee) * 100:.0f} % of it by the "
                 "stage-workers' processor time")
    line = (f"{name}: offered {outcome['offered']:.1f}/s, answered "
            f"{outcome['goodput']:.1f}/s{share}; "
            f"{outcome['served']} served, {outcome['refused']} refused, {outcome['other']} other; "
            "first token "
            f"p50 {percentile(outcome['first'], .5) * 1000:.0f} ms, "
            f"p99 {percentile(outcome['first'], .99) * 1000:.0f} ms")
    if outcome["refused"]:
        line += (f"; refusals p99 {percentile(outcome['refusal'], .99) * 1000:.1f} ms at the "
                 "client, "
                 f"at most {outcome['gateway_p99'] * 1000:g} ms in the gateway; told to retry "
                 "after "
                 f"{percentile(outcome['retry'], .5):.1f} s; {outcome['early']:.0f} unparsed")
    print(line, flush=True)
    shares = ", ".join(f"{name} {share * 100:.0f} %" for name, share in outcome["used"].items())
    print(f"    processor: {shares}; {per_compute(outcome):.1f} answers for a second of it in "
          f"the stage-workers; load average {os.getloadavg()[0]:.1f}", flush=True)


def find_knee(group, arguments):
    rate, knee, num_flat = arguments.start_rate, {"goodput": 0.0}, 0
    while num_flat < 2:
        outcome = offer(group, rate, arguments, arguments.ramp_seconds)
        show(f"  ramp {rate:.0f}/s", outcome)
        more = outcome["goodput"] > 0 and outcome["goodput"] >= 1.05 * knee["goodput"]
        num_flat = 0 if more else num_flat + 1
        knee = max(knee, outcome, key=lambda each: each["goodput"])
        rate *= 1.5
    if not knee["goodput"]:
        sys.exit("nothing was answered")
    return knee


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each overload")
    parser.add_argument("--ramp-seconds", type=float, default=8, help="of each step of the ramp")
    parser.add_argument("--start-rate", type=float, default=10,
                        help="requests a second, first step")
    parser.add_argument("--shape", default="1x1", help="stages x ranks")
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--nice", type=int, default=5, help="of the generator")
    parser.add_argument("--times", default="2,5,10", help="of the knee")
    parser.add_argument("--flag", action="append", default=[],
                        help="passed on to baton serve: --flag=--NAME=VALUE")
    parser.add_argument("--no-check", action="store_true",
                        help="exit 0 whatever came: others use the machine")
    arguments = parser.parse_args()
    stages, ranks = (int(part) for part in arguments.shape.split("x"))
    flags = load_client.bounded_flags(stages, ranks, arguments.flag)
    try:
        bound, wrong = queue_bound(flags), []
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(folder, "--no-log-requests", *flags, stages=stages, ranks=ranks)
        try:
            group.wait_ready()
            os.nice(arguments.nice)
            knee = find_knee(group, arguments)
            print(f"knee: {knee['goodput']:.1f} requests/s ({' '.join(flags)}: first tokens within "
                  f"{bound:g} s)")
            before = {name: load_client.rss_mib(pid) for name, pid in group.pids.items()}
            for times in (float(part) for part in arguments.times.split(",")):
                outcome = offer(group, knee["goodput"] * times, arguments, arguments.seconds)
                name = f"{outcome['offered'] / knee['goodput']:.1f}x (of {times:g}x)"
                show(name, outcome, knee)
                wrong += [f"{name}: {text}" for text in failures(times, outcome, knee, bound)]
            time.sleep(1)
            after = {name: load_client.rss_mib(pid) for name, pid in group.pids.items()}
            print("memory, MiB: " + ", ".join(f"{name} {before[name]:.1f} -> {after[name]:.1f}"
                                              for name in after))
            wrong += grown(before, after)
        finally:
            group.stop()
    for text in wrong:
        print("WRONG " + text)
    sys.exit(1 if wrong and not arguments.no_check else 0)


if __name__ == "__main__":
    main()
