"""Clients that ask the same questions again and again and compare every answer with the one that
the question got alone; for tests and benchmarks that kill processes meanwhile.

They do what an OpenAI SDK does: retry connection errors and answers of 5xx or 429, at most a few
times and with its pauses, and count it. A stream that breaks after its first byte is an error to
them; they ask again, as a user would, and count that, too. Whoever uses them says which of it may
happen: the death of a gateway costs its clients either, that of any other process neither.
"""

import http.client
import json
import os
import random
import signal
import socket
import threading
import time

from percentiles import percentile
from running_group import fetch, wait_until

# As openai-python: two retries, 0.5 s doubling, less up to a quarter. Retry-After is honoured.
SDK_RETRIES = 2
FIRST_PAUSE = 0.5


class Broken(Exception):
    """A stream ended before its end."""


class ErrorEvent(Broken):
    """The service itself ended it, with an error event."""


class Refused(Exception):
    """What the SDK would give to its caller after its retries."""


def questions(model, count, seed=7, max_tokens=48):
    """Prompts of token ids; greedy and seeded sampling, penalties, log-probabilities, streams and
    not."""
    generator = random.Random(seed)
    made = []
    for number in range(count):
        body = {"model": model, "max_tokens": max_tokens, "ignore_eos": True,
                "return_token_ids": True,
                "prompt": [generator.randrange(300, 1000)
                           for _ in range(generator.choice((5, 20, 90)))],
                "stream": number % 4 != 3}
        if number % 2:
            body.update(temperature=0.9, top_p=0.95, seed=number, frequency_penalty=0.4,
                        repetition_penalty=1.1)
        else:
            body.update(temperature=0)
        if number % 3 == 0:
            body.update(logprobs=3)
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
        made.append(body)
    return made


def _collect(story, choice):
    story["text"] += choice["text"]
    story["tokens"] += choice.get("token_ids") or []
    logprobs = choice.get("logprobs")
    if logprobs:
        for key, values in logprobs.items():
            if key != "text_offset":
                story["logprobs"].setdefault(key, []).extend(values)
    story["finish"] = choice["finish_reason"] or story["finish"]


def _read_stream(response, story, on_tokens):
    for line in response:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            return True
        chunk = json.loads(line[len(b"data: "):])
        if "error" in chunk:
            raise ErrorEvent(chunk["error"]["message"])
        story["usage"] = chunk.get("usage") or story["usage"]
        for choice in chunk.get("choices", []):
            _collect(story, choice)
            on_tokens(time.monotonic(), len(choice.get("token_ids") or []))
    return False


def ask_once(port, body, on_tokens, timeout=60):
    """One try: the answer, whatever its form, as one dictionary."""
    story = {"text": "", "tokens": [], "logprobs": {}, "finish": None, "usage": None}
    began = False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            error = Refused(f"{response.status}: {response.read().decode(errors='replace')}")
            error.retry = (response.status >= 500 or response.status == 429) and \
                response.headers.get("x-should-retry") != "false"
            error.pause = float(response.headers.get("retry-after-ms", 0)) / 1000
            raise error
        if body["stream"]:
            began = True
            if not _read_stream(response, story, on_tokens):
                raise Broken("the stream ended without [DONE]")
        else:
            answer = json.loads(response.read())
            story["usage"] = answer["usage"]
            _collect(story, answer["choices"][0])
            on_tokens(time.monotonic(), len(story["tokens"]))
        # What was cached of the prompt depends on who asked before.
        story["usage"].pop("prompt_tokens_details", None)
        return story
    except (OSError, http.client.HTTPException, ValueError) as error:
        if began:
            raise Broken(repr(error)) from error
        raise
    finally:
        connection.close()


def ask(port, body, on_tokens, on_retry):
    """As an SDK: retries what may be retried before the first byte; `on_retry` is called with each
    error that is."""
    pause = FIRST_PAUSE
    for attempt in range(SDK_RETRIES + 1):
        try:
            return ask_once(port, body, on_tokens)
        except Refused as error:
            if not error.retry or attempt == SDK_RETRIES:
                raise
            wait = error.pause or pause
            on_retry(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if attempt == SDK_RETRIES:
                raise Refused(repr(error)) from error
            wait = pause
            on_retry(error)
        time.sleep(wait * (1 - 0.25 * random.random()))
        pause *= 2
    raise AssertionError("not reached")


class SteadyLoad:
    """`clients` threads that ask `bodies` in turn from entering the context to leaving it.

    answered, different, lost, asked_again (after a stream broke), error_events (of the latter),
    retried (refusals and connections that broke before the first byte): counts; problems: a few
    words on each of the first ones.
    """

    def __init__(self, port, bodies, expected, clients):
        self._port = port
        self._bodies = bodies
        self._expected = expected
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._arrivals = []  # times at which tokens came
        self._finished = [0] * clients  # questions, answered or not, of each client
        self.answered = self.different = self.lost = 0
        self.asked_again = self.error_events = self.retried = 0
        self.problems = []
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _came(self, when, count):
        if count:
            with self._lock:
                self._arrivals.append(when)

    def arrivals(self, since):
        """Times at which tokens came after `since`, in order."""
        with self._lock:
            while self._arrivals and self._arrivals[0] < since - 60:
                self._arrivals.pop(0)
            return sorted(when for when in self._arrivals if when > since)

    def finished(self):
        """Questions that each client is done with; when all of these have grown, none of them is in
        a retry that began before."""
        return list(self._finished)

    def harm(self):
        """What clients had to do again so far: (after a broken stream, after a refusal or broken
        connection)."""
        with self._lock:
            return self.asked_again, self.retried

    def _problem(self, text):
        if len(self.problems) < 10:
            self.problems.append(text)

    def _run(self, number):
        turn = number
        try:
            while not self._stop.is_set():
                index = turn % len(self._bodies)
                turn += 1
                self._answer(index)
                self._finished[number] += 1
        except Exception as error:  # an answer of another form: this client is not content
            with self._lock:
                self.lost += 1
                self._problem(f"client {number} gave up: {error!r}")
            raise

    def _answer(self, index):
        def retry(error):
            with self._lock:
                self.retried += 1
                self._problem(f"question {index} asked again: {error!r}")

        for _ in range(5):
            try:
                story = ask(self._port, self._bodies[index], self._came, retry)
                break
            except Broken as error:
                with self._lock:
                    self.asked_again += 1
                    last = error
                    if isinstance(error, ErrorEvent):
                        self.error_events += 1
                        self._problem(f"question {index}: error event: {error}")
            except Refused as error:
                with self._lock:
                    self.lost += 1
                    self._problem(f"question {index}: {error}")
                return
        else:
            with self._lock:
                self.lost += 1
                self._problem(f"question {index} broke five times: {last}")
            return
        with self._lock:
            self.answered += 1
            if story != self._expected[index]:
                self.different += 1
                self._problem(f"question {index}:\n  alone {self._expected[index]}\n  now   "
                              f"{story}")


def wait_fresh(load):
    """Waits until no client is in a retry any more: an SDK has two, whoever dies how often."""
    before = load.finished()
    wait_until(lambda: all(now > then for now, then in zip(load.finished(), before)),
               "every client to be done with a question")


def solo(port, bodies):
    """What each question gets with nobody else around, at the first try."""
    return [ask_once(port, body, lambda when, count: None) for body in bodies]


# Whose death makes the group not ready, and the metric of the gateway that is another after it,
# however soon the group is ready again. A model-loader that has served is missed by nobody.
SIGNS_OF_LOSS = {"scheduler": "baton_gateway_resubmissions_total",
                 "stage-worker": "baton_gateway_group_epoch"}


def sign_of_loss(group, name):
    """What the gateway's metric of SIGNS_OF_LOSS says now; None of a process that need not be
    missed."""
    metric = next((metric for role, metric in SIGNS_OF_LOSS.items() if name.startswith(role)), None)
    if metric is None:
        return None
    values = [value for sample, value in group.metrics("gateway").items()
              if sample.split("{")[0] == metric]
    assert values, f"the gateway has no {metric}"
    return sum(values)


def _says_not_ready(group):
    try:
        return fetch(group.base_url + "/health/ready", timeout=2)[0] == 503
    except (OSError, http.client.HTTPException):  # says nothing
        return False


def time_to_notice(group, name, killed, sign, patience=10):
    """Seconds from `killed` until the gateway says that the group is not ready, or shows that it
    was not: its `sign_of_loss` is no longer `sign`, what it was before. None if the process need
    not be missed; AssertionError if it is not within `patience` seconds."""
    if sign is None:
        return None
    # Recovery takes longer as a rule, and metrics cost the gateway something.
    look = killed + min(0.25, patience / 2)
    while not _says_not_ready(group):
        if time.monotonic() > look:
            if sign_of_loss(group, name) != sign:
                break
            look = time.monotonic() + 0.25
        assert time.monotonic() < killed + patience, f"{name} is not missed"
        time.sleep(0.002)
    return time.monotonic() - killed


def time_to_accept(port, killed, patience=60):
    """Seconds from `killed` until the port takes a connection again."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return time.monotonic() - killed
        except OSError:
            assert time.monotonic() < killed + patience, f"port {port} takes no connection"
            time.sleep(0.002)


def kill_and_time(group, load, name, times):
    """Kills a process under load and waits until the group is whole and tokens flow; after a
    gateway's death, until no client is in a retry that came of it. Adds seconds since the kill to
    the lists in `times`: "NAME: noticed", "gateway: accepts", "NAME: next token". AssertionError or
    OSError if one of these does not come.
    """
    sign, pid = sign_of_loss(group, name), group.pids[name]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    noticed = time_to_notice(group, name, killed, sign)
    if noticed is not None:
        times.setdefault(f"{name}: noticed", []).append(noticed)
    group.wait_replaced(name, pid)
    if name == "gateway":  # the old one is wholly gone: nobody else accepts
        times.setdefault("gateway: accepts", []).append(time_to_accept(group.port, killed))
    wait_until(group.ready, f"ready after the death of {name}")
    whole = max(killed + 0.3,
                time.monotonic())  # what had left the group before the kill has arrived
    wait_until(lambda: load.arrivals(whole), f"a token after the death of {name}")
    times.setdefault(f"{name}: next token", []).append(pause_after(load.arrivals(killed), killed))
    if name == "gateway":
        wait_fresh(load)


def describe_times(times):
    """Lines with the spread of seconds by name."""
    lines = []
    for name, values in sorted(times.items()):
        lines.append(f"  {name:30} {len(values):5} times  p50 {percentile(values, .5) * 1000:6.0f} "
                     "ms  "
                     f"p99 {percentile(values, .99) * 1000:6.0f} ms  most "
                     f"{max(values) * 1000:6.0f} ms")
    return lines


def pause_after(arrivals, killed):
    """Seconds from `killed` to the end of the longest silence that began soon after it; None
    without a token since."""
    if not arrivals:
        return None
    longest, end = 0, None
    before = killed
    for when in arrivals:
        if before > killed + 0.3:  # what had left the group before still arrives
            break
        if when - before >= longest:
            longest, end = when - before, when
        before = when
    return end - killed
