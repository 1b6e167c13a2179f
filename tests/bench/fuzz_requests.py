#!/usr/bin/env python3
"""Sends mutated bodies to a gateway: every answer must be well-formed and no 5xx but a refusal of
an overloaded service, no connection may hang, and in the end nothing may be held.

  BATON_BIN_DIR=build/release/bin tests/bench/fuzz_requests.py --count 1000000

starts a group of its own with the demo model; --url sends to one that runs. Each process has
--connections connections and sends a few requests at a time over each, for the time of a body that
is refused goes into waiting otherwise. A body that is valid gets one token as a rule, because what
costs most is the model: one in 64 may ask for as many as there is room for.

Ends with status 1 and the bodies that failed (at most 20), reproducible by --seed: the bodies are
the same with any number of processes.
"""

import argparse
import collections
import json
import multiprocessing
import pathlib
import random
import socket
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from running_group import RunningGroup, fetch, held, parse_metrics  # noqa: E402

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
SEEDS = [
    ("/v1/chat/completions", {**CHAT, "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "n": 2,
                              "logprobs": True, "top_logprobs": 2, "seed": 5}),
    ("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True},
                              "logit_bias": {"5": 1}, "chat_template_kwargs": {"a": [1, {}]}}),
    ("/v1/chat/completions", {**CHAT, "tool_choice": "auto", "parallel_tool_calls": False,
                              "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    ("/v1/chat/completions", {**CHAT, "tool_choice": {"type": "function",
                                                      "function": {"name": "f"}}, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"a": {"enum": [1, "x"]},
                                             "b": {"type": "array", "items": {}}}}}}]}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 1, "structured_outputs": {
        "grammar": 'root ::= <[2034]> %json {"type": "string"} | [a-z]{2,3}'}}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 1, "stream": True, "stream_interval": 3,
                         "structured_outputs": {
        "json": {"type": "object", "properties": {"a": {"type": "string"}}},
        "whitespace_pattern": " ?"}}),
    ("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_schema", "json_schema": {
        "name": "n", "schema": {"anyOf": [{"type": "integer", "minimum": 3}, {"const": None}]}}}}),
    ("/v1/chat/completions", {"max_tokens": 1, "messages": [
        {"role": "system", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "1"}]}),
    ("/v1/chat/completions", {**CHAT, "max_tokens": 3, "bad_words": ["x", " y z", "</think>"],
                              "thinking_token_budget": 1, "ignore_eos": True}),
    ("/v1/chat/completions/batch", {"messages": [CHAT["messages"]], "max_tokens": 1}),
    ("/v1/completions", {"prompt": [[5, 6], [7]], "max_tokens": 1, "echo": True, "logprobs": 1,
                         "stop_token_ids": [4], "allowed_token_ids": [5, 6], "min_tokens": 1}),
    ("/v1/completions", {"prompt": "text", "max_tokens": 1, "truncate_prompt_tokens": 2,
                         "prompt_logprobs": 1, "priority": 1, "cache_salt": "s"}),
    ("/v1/responses", {"input": [{"role": "user", "content": "Hi"}], "max_output_tokens": 1,
                       "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}},
                       "stop": ["x"]}),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
                      "max_tokens": 1, "system": "s", "thinking": {"type": "disabled"},
                      "output_config": {"effort": "low", "format": {
                          "type": "json_schema", "schema": {"type": "integer"}}}}),
    ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("/tokenize", {"prompt": "text", "return_token_strs": True}),
    ("/detokenize", {"tokens": [1, 2, 3]}),
]
SEED_TEXTS = [(path, json.dumps(body)) for path, body in SEEDS]
VALUES = [json.dumps(value) for value in (
    None, True, False, 0, 1, -1, 2**31, 2**63, -2**63, 1e308, 1.5, "", "x", "\x00", "😀" * 9,
    "<｜Assistant｜>", "</think>", [], {}, [[]], [None], {"type": "text"}, "a" * 5000)]
KEYS = ["x", "stop", "n", "model", "type", "content"]
PIECES = [bytes([value]) for value in b'{}[]",:0-eE\\u\x00\xff ']
LIMITS = {"/v1/chat/completions": "max_tokens", "/v1/chat/completions/batch": "max_tokens",
          "/v1/completions": "max_tokens", "/v1/messages": "max_tokens",
          "/v1/responses": "max_output_tokens"}
DEPTH = 8  # requests that are sent together over a connection
PART = 2048  # bodies that a process takes at a time; a multiple of DEPTH
UNCAPPED = 64  # of so many bodies one keeps the token limit that it has come to, or none


def places(value, found):
    """(container, key) of everything inside a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            places(value[key], found)
    return found


class Mutator:
    """Makes bodies from the seeds; what it makes depends on its number alone."""

    def __init__(self, number):
        self.random = random.Random(number).random

    def below(self, count):
        return int(self.random() * count)

    def pick(self, options):
        return options[int(self.random() * len(options))]

    def mutate_value(self, body):
        """Replaces, drops or doubles something of the body, in place where that is possible."""
        found = places(body, [])
        at = self.below(len(found) + 1)
        if at == len(found):
            return json.loads(self.pick(VALUES))
        parent, key = found[at]
        action = self.below(4)
        if action == 0:
            del parent[key]
        elif action == 1 and isinstance(parent, list):
            parent.extend([parent[key]] * (1 + self.below(39)))
        elif action == 2 and isinstance(parent, dict):
            parent[self.pick(KEYS)] = parent[key]
        else:
            parent[key] = json.loads(self.pick(VALUES))
        return body

    def mutate_bytes(self, data):
        """Changes, cuts or adds bytes."""
        data = bytearray(data)
        for _ in range(1 + self.below(3)):
            at = self.below(len(data) + 1)
            action = self.below(3)
            if action == 0 and at < len(data):
                data[at] = self.below(256)
            elif action == 1:
                del data[at:at + self.below(8)]
            else:
                data[at:at] = b"".join(self.pick(PIECES) for _ in range(1 + self.below(4)))
        return bytes(data)

    def make(self):
        """Path and body of one request."""
        path, text = self.pick(SEED_TEXTS)
        body = json.loads(text)
        for _ in range(1 + self.below(3)):
            if isinstance(body, (dict, list)):
                body = self.mutate_value(body)
        limit = LIMITS.get(path)
        capped = self.below(UNCAPPED) > 0
        if capped and limit and isinstance(body, dict) and body.get(limit) is None:
            body[limit] = 1
        data = json.dumps(body).encode()
        return path, self.mutate_bytes(data) if self.below(4) == 0 else data


def make_batch(seed, first, count):
    """(index, path, body) of `count` bodies from `first`, a multiple of DEPTH, on."""
    mutator = Mutator(seed * 1_000_000_007 + first)
    return [(first + i, *mutator.make()) for i in range(count)]


def problem_of(status, head, text):
    """What is wrong with an answer; None: nothing. `head` is in lower case."""
    if status >= 500 and not (status == 503 and b"\r\nretry-after:" in head):
        return "a server error"
    try:
        if b"\r\ncontent-type: text/event-stream" in head:
            for block in text.decode().split("\n\n"):
                data = block[block.find("data: ") + 6:] if "data: " in block else None
                if data is not None and data != "[DONE]":
                    json.loads(data)
            return None if status == 200 else "a stream with this status"
        value = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if status == 200:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not error.get("message"):
        return "an error without a message"
    return None


class Connection:
    """Requests sent one behind the other, and their answers."""

    def __init__(self, host, port, timeout):
        self.address = (host, port)
        self.timeout = timeout
        self.socket = None
        self.broken = None  # what sending failed with
        self.received = b""
        self.pending = collections.deque()

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.received = b""

    def send(self, requests):
        """What the server does not take is told by `answers`, of the first request without an
        answer."""
        self.pending.extend(requests)
        self.broken = None
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, self.timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(b"".join(
                b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                b"%d\r\n\r\n%b"
                % (path.encode(), len(body), body) for _, path, body in requests))
        except OSError as error:
            self.broken = error

    def read_until(self, text):
        """Where `text` ends in what was received."""
        start = 0
        while (at := self.received.find(text, start)) < 0:
            start = max(len(self.received) - len(text), 0)
            self.read_more()
        return at + len(text)

    def read_more(self):
        part = self.socket.recv(1 << 16) if self.socket is not None else b""
        if not part:
            raise self.broken or ConnectionError("the connection ended before the answer")
        self.received += part

    def take(self, count):
        while len(self.received) < count:
            self.read_more()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def take_answer(self):
        """(status, head in lower case, body) of the next answer."""
        head = self.take(self.read_until(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 "):
            raise ValueError(f"no answer: {head[:60]!r}")
        status = int(head[9:12])
        at = head.find(b"\r\ncontent-length: ")
        if at >= 0:
            return status, head, self.take(int(head[at + 18:head.index(b"\r\n", at + 2)]))
        if b"\r\ntransfer-encoding: chunked\r\n" not in head:
            raise ValueError("an answer of unknown length")
        parts = []
        while not parts or parts[-1]:
            size = int(self.take(self.read_until(b"\r\n")), 16)
            parts.append(self.take(size + 2)[:-2])
        return status, head, b"".join(parts)

    def answers(self):
        """(request, status or name of what failed, answer's body, problem) of all that was sent."""
        while self.pending:
            request = self.pending[0]
            try:
                status, head, text = self.take_answer()
                problem = problem_of(status, head, text)
            except (OSError, ValueError) as error:
                status, head, text = type(error).__name__, b"\r\nconnection: close", b""
                problem = str(error)
            self.pending.popleft()
            yield request, status, text, problem
            if b"\r\nconnection: close" in head:
                self.close()
                rest = list(self.pending)
                self.pending.clear()
                if rest:
                    self.send(rest)


def send(url, indices, seed, timeout, num_connections):
    """(statuses and how many of each, failures) of these bodies; `indices` begin at a multiple of
    DEPTH. A failure is (index, path, body, status, what is wrong and the answer's begin)."""
    place = urllib.parse.urlsplit(url)
    batches = (make_batch(seed, first, min(DEPTH, indices.stop - first))
               for first in range(indices.start, indices.stop, DEPTH))
    statuses, failures = collections.Counter(), []
    lanes = [Connection(place.hostname, place.port, timeout) for _ in range(num_connections)]
    for lane, batch in zip(lanes, batches):
        lane.send(batch)
    while any(lane.pending for lane in lanes):
        for lane in lanes:
            for (index, path, body), status, text, problem in lane.answers():
                statuses[status] += 1
                if problem is not None:
                    failures.append((index, path, body, status, f"{problem}: {text[:300]!r}"))
            batch = next(batches, None)
            if batch is not None:
                lane.send(batch)
    for lane in lanes:
        lane.close()
    return statuses, failures


def run(url, count, seed=1, timeout=60, processes=1, connections=16):
    """As send, for the first `count` bodies; each process takes the next few when it is done with
    its own."""
    parts = [(url, range(first, min(first + PART, count)), seed, timeout, connections)
             for first in range(0, count, PART)]
    statuses, failures = collections.Counter(), []
    with multiprocessing.Pool(processes) as pool:
        for part_statuses, part_failures in pool.starmap(send, parts, chunksize=1):
            statuses += part_statuses
            failures += part_failures
    return statuses, sorted(failures, key=lambda failure: failure[0])


def held_at(url):
    """What the group of a gateway holds for requests, as the gateway says."""
    status, text = fetch(url + "/metrics")
    assert status == 200, text
    return held("gateway", parse_metrics(text))


def fuzz(url, arguments):
    """Sends, waits until the group holds what it held before, reports; whether all was well."""
    before = held_at(url)
    began = time.monotonic()
    statuses, failures = run(url, arguments.count, arguments.seed, processes=arguments.processes,
                             connections=arguments.connections)
    seconds = time.monotonic() - began
    print(f"{arguments.count} requests in {seconds:.1f} s ({arguments.count / seconds:.0f}/s): "
          + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items(), key=str)))
    for index, path, body, status, text in failures[:20]:
        print(f"request {index}: {status} from {path} for {body[:300]!r}: {text}")
    deadline = time.monotonic() + 60
    while (after := held_at(url)) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    ready = fetch(url + "/health/ready")[0] == 200
    print(f"held before: {before}, afterwards: {after}; " + ("ready" if ready else "NOT ready"))
    return not failures and after == before and ready


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a gateway that runs; default: a group of its own")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32, help="of each process")
    arguments = parser.parse_args()
    if arguments.url:
        return 0 if fuzz(arguments.url, arguments) else 1
    with tempfile.TemporaryDirectory(prefix="fuzz_requests.") as folder:
        group = RunningGroup(pathlib.Path(folder) / "group", "--max-model-len", "64",
                             "--no-log-requests", "--liveness-timeout", "30s", stages=1, ranks=1)
        try:
            group.wait_ready()
            pids = dict(group.pids)
            well = fuzz(group.base_url, arguments)
            if group.read_state().pids != pids:
                print(f"processes of the group have died:\n{group.log_tail()}")
                well = False
        finally:
            group.stop()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
