"""What the loads of tests/bench and tests/e2e make of figures and answers that were made up."""

import asyncio
import math
import pathlib
import sys
import time
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))

import company  # noqa: E402
import fairness  # noqa: E402
import kills  # noqa: E402
import load_client  # noqa: E402
import open_loop  # noqa: E402
import overload  # noqa: E402
import percentiles  # noqa: E402
import running_group  # noqa: E402
import steady_load  # noqa: E402

KNEE = {"goodput": 100.0, "used": {"stage-worker-0": 1.0, "gateway": 0.3}}
BOUND = 2.0


def outcome(**changes):
    return {"goodput": 80.0, "offered": 930.0, "due": 1000, "in_time": 950,
            "used": {"stage-worker-0": 0.8, "gateway": 0.9},
            "served": 800, "refused": 8000, "other": 0, "first": [0.5] * 100, "gateway_p99": 0.002,
            **changes}


def found(**changes):
    return overload.failures(10, outcome(**changes), KNEE, BOUND)


def test_an_overload_that_only_takes_processors_from_the_stages_is_good():
    assert found() == []


@pytest.mark.parametrize("changes,words", [
    ({"goodput": 75.9}, "94.9 % of the knee"),
    ({"goodput": 0.0}, "0.0 % of the knee"),
    ({"in_time": 949}, "949 of 1000 requests that were due were sent in time"),
    ({"in_time": 0, "due": 0}, "0 of 0 requests"),
    ({"gateway_p99": 0.01}, "up to 10 ms"),
    ({"gateway_p99": math.nan}, "refusals take the gateway"),
    ({"refused": 0}, "nothing was refused"),
    ({"first": [0.5] * 98 + [2.1] * 2}, "after up to 2100 ms, not 2000"),
    ({"first": []}, "first tokens"),
    ({"other": 1}, "1 neither answered nor refused"),
])
def test_each_promise_can_be_broken(changes, words):
    wrong = found(**changes)
    assert len(wrong) == 1 and words in wrong[0], wrong


def test_memory_may_grow_by_a_tenth():
    before = {"gateway": 50.0, "scheduler": 20.0}
    assert overload.grown(before, {"gateway": 54.9, "scheduler": 19.0}) == []
    after = {"gateway": 50.0, "scheduler": 22.1}
    assert overload.grown(before, after) == ["scheduler has grown from 20.0 to 22.1 MiB"]


def test_the_bound_on_first_tokens_is_what_the_flags_say():
    assert overload.queue_bound(["--max-num-seqs", "16", "--max-queue-wait", "2s"]) == 2.0
    assert overload.queue_bound(["--max-queue-wait=1500ms"]) == 1.5
    assert overload.queue_bound(["--max-queue-wait", "2s", "--max-queue-wait", "1m"]) == 60.0
    assert overload.queue_bound([]) == 60.0
    assert overload.queue_bound(["--max_queue_wait=250us", "--max-queue-waiting", "9s"]) == 0.00025


@pytest.mark.parametrize("text,seconds", [
    ("1m30s", 90), ("1h", 3600), ("1.5h", 5400), ("2h45m1.5s", 9901.5), (".5s", 0.5),
    ("10ns", 1e-8), ("+1s", 1), ("0", 0), ("inf", math.inf),
])
def test_durations_are_those_of_abseil(text, seconds):
    assert overload.queue_bound(["--max-queue-wait", text]) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["60", "1d", "1 s", "s", "1m30", "", "soon", "-1s", "1e3s"])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="max-queue-wait"):
        overload.queue_bound(["--max-queue-wait", text])


def test_a_group_that_answers_nothing_has_no_knee(monkeypatch):
    nothing = outcome(goodput=0.0, served=0, refused=0, first=[], other=9)
    monkeypatch.setattr(overload, "offer", lambda *_: nothing)
    with pytest.raises(SystemExit, match="nothing was answered"):
        overload.find_knee(None, types.SimpleNamespace(start_rate=10, ramp_seconds=1))


class ShortLoad:
    """A load that gets an answer each millisecond while it is offered and 50 while it settles; each
    answer takes a stage a second of its processor."""

    computed = 0

    def __init__(self, *_):
        ShortLoad.computed = 0
        self.results = []
        self.due = self.in_time = 0

    def answer(self):
        ShortLoad.computed += 1
        now = time.perf_counter()
        self.results.append(open_loop.Result("", now, 200, now, now, 1, True))

    async def poisson(self, rate, seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.answer()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)  # the window has opened, however late this is
        self.answer()

    async def settle(self):
        for _ in range(50):
            self.answer()

    def close(self):
        pass


@pytest.mark.parametrize("late,in_time", [(-1, True), (1, False)])
def test_arrivals_are_counted_as_drawn_and_as_sent(monkeypatch, late, in_time):
    """A generator that is held up sends what is due, but after the time of the load."""
    load = open_loop.OpenLoop(0, "")

    async def send(self, _):
        self.results.append(open_loop.Result("", time.perf_counter() + late))
        return self.results[-1]

    monkeypatch.setattr(open_loop.OpenLoop, "_send", send)
    asyncio.run(load.poisson(200, 0.2))
    assert load.due == len(load.results) > 0
    assert load.in_time == (load.due if in_time else 0)


def test_answers_and_their_processor_time_are_of_the_same_window(monkeypatch):
    monkeypatch.setattr(open_loop, "OpenLoop", ShortLoad)
    monkeypatch.setattr(overload, "processor",
                        lambda _: {"stage-worker-0": float(ShortLoad.computed)})
    group = types.SimpleNamespace(port=0, model="", metrics=lambda _: {})
    found = overload.offer(group, 1000, types.SimpleNamespace(prompt_tokens=1, max_tokens=1), 0.5)
    assert found["served"] > 50 and found["goodput"] > 0
    assert overload.per_compute(found) == pytest.approx(1)


@pytest.mark.parametrize("stages,ranks,cores,found", [
    (1, 1, 2, (1, 1, 1)),
    (1, 8, 2, (1, 1, 1)),   # a thread for each rank would take both
    (2, 1, 2, (1, 1, 0)),   # none can be left
    (4, 1, 2, (1, 1, -2)),
    (2, 2, 5, (2, 2, 1)),
    (2, 2, 8, (3, 2, 4)),   # a third thread has no rank to serve
    (1, 8, 64, (63, 8, 8)),
    (1, 1, 1, (1, 1, 0)),
])
def test_a_core_is_left_where_there_are_more_than_stages(stages, ranks, cores, found):
    assert load_client.share_cores(stages, ranks, cores) == found


def flood(key, statuses):
    """Results of a flood: {status: times}."""
    return [open_loop.Result(key, 0.0, status, complete=status == 200)
            for status, count in statuses.items() for _ in range(count)]


def strangers(statuses):
    """Arguments of flood_failures: a flood of which 200 requests were due, answered so."""
    return fairness.STRANGER, flood(fairness.STRANGER, statuses), 200, sum(statuses.values())


def aggressor(statuses):
    """As strangers, of the aggressor, among requests of others."""
    return ("aggressor", flood("aggressor", statuses) + flood("victim", {200: 900}), 200,
            sum(statuses.values()))


def unfair(alone=(0.1,) * 100, beside=(0.1,) * 100, jain=0.99, turned_away=(0.1,), floods=None):
    return fairness.failures(
        {"alone": list(alone), "beside strangers": list(turned_away),
         "beside the aggressor": list(beside)},
        floods or [strangers({401: 190}), aggressor({503: 180, 200: 20})], jain)


def test_shares_are_fair_if_the_victim_is_served_and_all_keys_get_alike():
    assert unfair() == []
    assert unfair(beside=[0.15] * 100) == []


def test_a_ratio_of_a_few_slow_ones_is_chance():
    few = [0.1] * 98 + [0.2] * 2
    low, high = fairness.ratio_interval([0.1] * 100, few)
    assert (low, high) == (1.0, 2.0)
    assert unfair(beside=few) == []
    assert fairness.ratio_interval(few, [0.1] * 100) == (0.5, 1.0)


def test_a_ratio_of_many_slow_ones_is_none():
    assert fairness.ratio_interval([0.1] * 100, [0.1] * 90 + [0.2] * 10) == (2.0, 2.0)
    assert fairness.ratio_interval([0.1] * 100, [0.1] * 50 + [math.inf] * 50)[0] == math.inf
    assert all(map(math.isnan, fairness.ratio_interval([], [0.1])))


@pytest.mark.parametrize("changes,words", [
    ({"beside": [0.16] * 100}, "1.60 times"),
    ({"beside": [0.1] * 90 + [0.2] * 10}, "2.00 times"),
    ({"beside": [0.1] * 199 + [math.inf]}, "1 requests of the victim beside the aggressor"),
    ({"turned_away": [math.inf]}, "1 requests of the victim beside strangers"),
    ({"jain": 0.97}, "0.9700"),
    ({"alone": [0.1] * 99}, "99 first tokens of the victim alone are too few"),
    ({"beside": [0.1] * 99}, "99 first tokens of the victim beside the aggressor are too few"),
    ({"floods": [strangers({401: 189})]}, "189 of 200 requests"),
    ({"floods": [strangers({401: 199, 503: 1})]}, "got {503: 1}"),
    ({"floods": [strangers({401: 199, 0: 1})]}, "got {0: 1}"),
    ({"floods": [aggressor({503: 180, 200: 19, 500: 1})]}, "got {500: 1}"),
    ({"floods": [aggressor({503: 199, 401: 1})]}, "got {401: 1}"),
    ({"floods": [aggressor({200: 200})]}, "200 answers and 0 refusals"),
    ({"floods": [aggressor({503: 80, 200: 20})]}, "100 of 200 requests of the key aggressor"),
    ({"floods": [("aggressor", [], 200, 0)]}, "0 of 200 requests of the key aggressor"),
    ({"floods": [("aggressor", [], 0, 0)]}, "0 of 0 requests of the key aggressor"),
])
def test_each_unfairness_is_told(changes, words):
    wrong = unfair(**changes)
    assert len(wrong) == 1 and words in wrong[0], wrong


def test_a_victim_that_is_not_served_has_no_ratio():
    assert "inf times" in unfair(beside=[0.1] * 80 + [math.inf] * 20)[0]


def test_an_answer_that_breaks_off_is_none():
    broken = flood("aggressor", {503: 199, 200: 1})
    broken[-1].complete = False
    assert "got {0: 1}" in unfair(floods=[("aggressor", broken, 200, 200)])[0]


def test_jain_index():
    assert fairness.jain_index([5, 5, 5, 5]) == 1.0
    assert fairness.jain_index([9, 0, 0]) == pytest.approx(1 / 3)
    assert fairness.jain_index([0, 0]) == 0.0


def test_a_percentile_is_the_nearest_rank():
    assert percentiles.percentile([0.1] * 99 + [9.0], .99) == 0.1
    assert percentiles.percentile(range(1, 101), .99) == 99
    assert percentiles.percentile(range(1, 102), .99) == 100
    assert percentiles.percentile(range(1, 101), .07) == 7
    assert percentiles.percentile([3, 1, 2], .5) == 2
    assert percentiles.percentile([4, 1, 3, 2], .5) == 2
    assert percentiles.percentile([5], .01) == percentiles.percentile([5], 1) == 5
    assert math.isnan(percentiles.percentile([], .99))
    line = steady_load.describe_times({"x": [0.1] * 99 + [9.0]})[0]
    assert "p50    100 ms  p99    100 ms  most   9000 ms" in line


class Gateway:
    """Answers of a gateway to who asks for its readiness, in order, the last one for ever, and its
    metrics, likewise."""

    base_url = "http://gateway"

    def __init__(self, monkeypatch, answers, metrics):
        self.answers, self.samples = list(answers), list(metrics)
        monkeypatch.setattr(steady_load, "fetch", self.fetch)

    def fetch(self, url, timeout):
        assert url == "http://gateway/health/ready" and timeout
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, ""

    def metrics(self, name):
        assert name == "gateway"
        return self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]


EPOCH = "baton_gateway_group_epoch"
RESUBMITTED = "baton_gateway_resubmissions_total"


@pytest.mark.parametrize("answers", [[200], [TimeoutError()], [ConnectionRefusedError(), 200],
                                     [404]])
def test_only_the_gateway_itself_can_say_that_a_death_is_noticed(monkeypatch, answers):
    group = Gateway(monkeypatch, answers, [{EPOCH: 3.0, RESUBMITTED: 0.0}])
    with pytest.raises(AssertionError, match="stage-worker-0 is not missed"):
        steady_load.time_to_notice(group, "stage-worker-0", time.monotonic(), 3.0, patience=0.05)


def test_a_death_is_noticed_when_the_gateway_says_503(monkeypatch):
    group = Gateway(monkeypatch, [200, TimeoutError(), 503, 200], [{EPOCH: 3.0, RESUBMITTED: 0.0}])
    killed = time.monotonic()
    noticed = steady_load.time_to_notice(group, "stage-worker-0", killed, 3.0)
    assert 0 < noticed <= time.monotonic() - killed
    assert group.answers == [200]
    assert steady_load.time_to_notice(group, "model-loader", time.monotonic(), None) is None


@pytest.mark.parametrize("name,metrics", [
    ("stage-worker-1", {EPOCH: 4.0, RESUBMITTED: 0.0}),
    ("scheduler", {EPOCH: 3.0, RESUBMITTED + '{engine="0"}': 2.0}),
])
def test_a_recovery_between_two_questions_has_been_noticed(monkeypatch, name, metrics):
    group = Gateway(monkeypatch, [200], [{EPOCH: 3.0, RESUBMITTED: 0.0}, metrics])
    before = steady_load.sign_of_loss(group, name)
    assert steady_load.time_to_notice(group, name, time.monotonic(), before) > 0


IDLE = {role: {f"{name}{labels}": 0.0 for name in names} for role, names, labels in (
    ("scheduler", ("baton_scheduler_running_sequences", "baton_scheduler_waiting_sequences",
                   "baton_scheduler_paused_sequences", "baton_scheduler_suspended_sequences",
                   "baton_scheduler_kv_blocks_used"), ""),
    ("gateway", ("baton_gateway_live_requests", "vllm:num_requests_running",
                 "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"), '{engine="0"}'))}


@pytest.mark.parametrize("role,name", [(role, name) for role in IDLE for name in IDLE[role]])
def test_what_a_group_holds_is_left_over(role, name):
    assert running_group.held(role, {**IDLE[role], "baton_scheduler_kv_blocks_total": 90.0}) == {}
    assert running_group.held(role, {**IDLE[role], name: 2.0}) == {name: 2.0}
    with pytest.raises(AssertionError, match="has no"):
        running_group.held(role, {other: 0.0 for other in IDLE[role] if other != name})


KILLED = [("scheduler", (0, 0)), ("gateway", (0, 0)), ("gateway", (3, 2)),
          ("stage-worker-1", (5, 2))]


def loaded(**changes):
    """A load of tests/e2e/steady_load.py that is over."""
    load = types.SimpleNamespace(**{"answered": 90, "lost": 0, "different": 0, "error_events": 0,
                                    "harmed": (5, 2), **changes})
    load.harm = lambda: load.harmed
    return load


def test_harm_is_that_of_the_kill_before_it():
    assert kills.harmed(KILLED, (5, 2)) == []
    assert kills.harmed(KILLED, (6, 2)) == [(4, "stage-worker-1", (5, 2), (6, 2))]
    late = [("scheduler", (0, 0)), ("gateway", (0, 1)), ("model-loader", (4, 4))]
    assert kills.harmed(late, (4, 4)) == [(1, "scheduler", (0, 0), (0, 1))]
    assert kills.harmed([], (0, 0)) == []


def test_kills_that_harm_nobody_are_good():
    assert kills.failures(KILLED, None, loaded(), {}) == []


@pytest.mark.parametrize("found,words", [
    (([], None, loaded(harmed=(0, 0)), {}), "nothing was killed"),
    ((KILLED, None, loaded(answered=0), {}), "nothing was answered"),
    ((KILLED, None, loaded(lost=1), {}), "1 answers lost"),
    ((KILLED, None, loaded(different=2), {}), "2 answers different"),
    ((KILLED, None, loaded(error_events=3), {}), "3 answers with an error event"),
    ((KILLED, None, loaded(harmed=(5, 3)), {}),
     "kill 4, of stage-worker-1: clients asked again, (5, 2) -> (5, 3)"),
    ((KILLED, "it is not missed", loaded(), {}), "kill 4, of stage-worker-1: it is not missed"),
    ((KILLED, None, loaded(), {"baton_gateway_live_requests": 1.0}),
     "left behind: {'baton_gateway_live_requests'"),
])
def test_each_harm_of_kills_is_told(found, words):
    wrong = kills.failures(*found)
    assert len(wrong) == 1 and words in wrong[0], wrong


def test_company_tells_tokens_a_second():
    before = {f"baton_scheduler_{name}_total": value for name, value in (
        ("generated_tokens", 100.0), ("computed_tokens", 1000.0), ("preemptions", 1.0),
        ("prefix_cache_query_tokens", 0.0), ("prefix_cache_hit_tokens", 0.0))}
    after = {name: 2 * value + 6 for name, value in before.items()}
    told = company.work(before, after, 2)
    assert told.startswith("tokens/s: 53 generated, 503 computed; 7 preemptions, 6 prompt"), told
    with pytest.raises(KeyError):
        company.work(before, {}, 2)


def test_company_is_good_only_if_nobody_had_to_ask_again():
    good = {"answered": 9, "lost": 0, "different": 0, "asked_again": 0, "retried": 0}
    assert company.failures(types.SimpleNamespace(**good), {}) == []
    for name in good:
        bad = {**good, name: 0 if name == "answered" else 2}
        assert len(company.failures(types.SimpleNamespace(**bad), {})) == 1, name
    left = {"baton_scheduler_kv_blocks_used": 3.0}
    assert "kv_blocks" in company.failures(types.SimpleNamespace(**good), left)[0]
