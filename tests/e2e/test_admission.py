"""A busy group: deadlines, a full queue, keys; seen by clients and in the metrics."""

import http.client
import json
import time

import httpx
import openai
import pytest
from running_group import wait_until

BODY = {"model": "tiny-r1", "prompt": "What is 17 + 25?", "temperature": 0, "ignore_eos": True}


class Call:
    """One completion on a connection of its own; nothing is read before answer()."""

    def __init__(self, group, key, headers=None, **fields):
        self.connection = http.client.HTTPConnection("127.0.0.1", group.port, timeout=60)
        self.connection.request("POST", "/v1/completions", json.dumps({**BODY, **fields}),
                                {"Content-Type": "application/json",
                                 "Authorization": f"Bearer {key}",
                                 **(headers or {})})

    def answer(self):
        """(status, parsed body, headers)."""
        try:
            response = self.connection.getresponse()
            return response.status, json.loads(response.read()), response.headers
        finally:
            self.connection.close()

    def close(self):
        self.connection.close()


@pytest.fixture
def busy_group(start_group):
    """One sequence runs for long, of key "one"; two may wait."""
    group = start_group("--api-key", "one", "two", "three", "--max-num-seqs", "1",
                        "--max-num-queued-reqs", "2", stages=1, ranks=1)
    group.running = Call(group, "one", max_tokens=3500)
    await_sequences(group, running=1, waiting=0)
    yield group
    group.running.close()


def await_sequences(group, running, waiting):
    def there():
        metrics = group.metrics("scheduler")
        return (metrics["baton_scheduler_running_sequences"] == running
                and metrics["baton_scheduler_waiting_sequences"] == waiting)
    wait_until(there, f"{running} running and {waiting} waiting")


def test_a_full_queue_refuses_its_own_key_and_makes_room_for_another(busy_group):
    first = Call(busy_group, "two", max_tokens=4)
    await_sequences(busy_group, 1, 1)
    second = Call(busy_group, "two", max_tokens=4)
    await_sequences(busy_group, 1, 2)
    status, body, headers = Call(busy_group, "two", max_tokens=4).answer()
    assert (status, body["error"]["code"]) == (503, "server_is_overloaded")
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert 1000 <= int(headers["retry-after-ms"]) <= 60000
    other = Call(busy_group, "three", max_tokens=4)
    status, body, _ = second.answer()
    assert (status, body["error"]["code"]) == (503, "server_is_overloaded")
    busy_group.running.close()
    assert first.answer()[0] == 200
    assert other.answer()[0] == 200
    metrics = busy_group.metrics("scheduler")
    assert metrics['baton_scheduler_refused_total{reason="queue_requests"}'] == 1
    assert metrics['baton_scheduler_refused_total{reason="displaced"}'] == 1


def test_the_official_client_waits_as_it_is_told_and_asks_again(busy_group):
    first = Call(busy_group, "two", max_tokens=4)
    await_sequences(busy_group, 1, 1)
    second = Call(busy_group, "two", max_tokens=4)
    await_sequences(busy_group, 1, 2)
    asked, answered = [], []

    def note(response):
        answered.append((time.monotonic(), response))
        busy_group.running.close()  # there is room from the first refusal on

    hooks = {"request": [lambda _: asked.append(time.monotonic())], "response": [note]}
    with httpx.Client(event_hooks=hooks) as connections, \
            openai.OpenAI(base_url=busy_group.endpoint, api_key="two", max_retries=5,
                          http_client=connections) as client:
        answer = client.completions.create(**{key: BODY[key] for key in ("model", "prompt")},
                                           max_tokens=4)
    assert answer.usage.completion_tokens == 4
    *refusals, (_, last) = answered
    assert last.status_code == 200
    assert refusals
    for (at, refusal), again in zip(refusals, asked[1:], strict=True):
        assert refusal.status_code == 503
        assert again - at >= int(refusal.headers["retry-after-ms"]) / 1000
    assert first.answer()[0] == second.answer()[0] == 200


def test_what_waits_past_its_deadline_is_answered_504_and_never_runs(busy_group):
    before = busy_group.metrics("scheduler")["baton_scheduler_queue_seconds_count"]
    status, body, _ = Call(busy_group, "two", {"X-Request-Timeout": "0.5"}, max_tokens=4).answer()
    assert (status, body["error"]["code"]) == (504, "deadline_exceeded")
    await_sequences(busy_group, 1, 0)
    assert busy_group.metrics("scheduler")["baton_scheduler_queue_seconds_count"] == before


def test_what_runs_past_its_deadline_ends_with_an_error_event(group):
    client = openai.OpenAI(base_url=group.endpoint, api_key="none", max_retries=0)
    stream = client.completions.create(model=group.model, prompt=BODY["prompt"], temperature=0,
                                       max_tokens=3500, stream=True,
                                       extra_body={"ignore_eos": True},
                                       extra_headers={"X-Request-Timeout": "1.5"})
    with pytest.raises(openai.APIError, match="(?i)deadline"):
        for _ in stream:
            pass
    await_sequences(group, 0, 0)


def test_a_timeout_that_is_none_is_refused(group):
    status, body, _ = Call(group, "any", {"X-Request-Timeout": "soon"}, max_tokens=1).answer()
    assert (status, body["error"]["param"]) == (400, "X-Request-Timeout")
