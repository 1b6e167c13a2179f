"""Requests to a group and figures of its processes, for the benchmarks of this folder."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import running_group  # noqa: E402  (the path above leads there)

TICKS = os.sysconf("SC_CLK_TCK")


def stream(port, body, timeout=120, stop_after=None):
    """Times of the tokens of one streamed completion, seconds; `stop_after` tokens: hang up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("POST", "/v1/completions", json.dumps(dict(body, stream=True)),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {response.read().decode(errors='replace')}")
    times = []
    try:
        for line in response:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            chunk = json.loads(line[len(b"data: "):])
            if "error" in chunk:
                raise RuntimeError(chunk["error"])
            if chunk.get("choices"):
                times += [time.perf_counter()] * max(1,
                                                     len(chunk["choices"][0].get("token_ids")
                                                         or [0]))
            if stop_after is not None and len(times) >= stop_after:
                break
    finally:
        connection.close()
    return times


def rate(port, bodies):
    """Tokens per second of streamed completions asked at the same time, all of them together."""
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        streams = list(pool.map(lambda body: stream(port, body), bodies))
    begin = min(times[0] for times in streams)
    end = max(times[-1] for times in streams)
    return sum(len(times) - 1 for times in streams) / (end - begin)


def await_idle(group):
    """Waits until the scheduler runs nothing: its counters have followed the answers then."""
    running_group.wait_until(
        lambda: group.metrics("scheduler")["baton_scheduler_running_sequences"] == 0,
        "an idle scheduler")


def measure_in_turns(sides, repeat, ask):
    """Lets each side's group answer `ask(group, turn)` `repeat` times, in turns; adds to its
    rates."""
    for side in sides:
        side.begin()
    for turn in range(repeat):
        for side in sides if turn % 2 == 0 else reversed(sides):
            side.rates.append(ask(side.group, turn))
            await_idle(side.group)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid):
    """Resident memory of a process now."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def share_cores(stages, ranks, num_cores):
    """(threads of each stage, its devices, cores left) so that, where there are more cores than
    stages, one is left to whoever else is on the machine. As services/stage_worker/stage_config.cc
    has it, a stage's ranks share one device or have one each, and each device has a thread at
    least; less than one left: stages share cores."""
    threads = max(1, (num_cores - 1) // stages)
    devices = ranks if ranks <= threads else 1
    return threads, devices, num_cores - stages * devices * (threads // devices)


def bounded_flags(stages, ranks, more):
    """Flags of `baton serve` for a group with a short queue that leaves a core to load, gateway and
    scheduler, which are on other machines than a stage in a cluster; prints what it leaves. `more`:
    flags of the caller, which go before these. Sets BATON_NUM_DEVICES in the environment of the
    processes to come."""
    flags = ["--max-num-seqs", "16", "--max-num-queued-reqs", "64", "--max-queue-wait", "2s"]
    if any(word.replace("_", "-").startswith("--cpu-threads") for word in more):
        print("threads of the stages: as the flags say")
        return flags + more
    num_cores = len(os.sched_getaffinity(0))
    threads, devices, left = share_cores(stages, ranks, num_cores)
    os.environ["BATON_NUM_DEVICES"] = str(devices)
    told = f"{left} left" if left > 0 else "none left"
    print(f"cores: {num_cores}, {told} to load, gateway and scheduler")
    return [*flags, "--cpu-threads", str(threads), *more]


def start(folder, *flags, stages, ranks, **options):
    return running_group.RunningGroup(pathlib.Path(folder), *flags, stages=stages,
                                      ranks=ranks, **options)
