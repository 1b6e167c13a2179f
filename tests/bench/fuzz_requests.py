#!/usr/bin/env python3
"""Sends mutated bodies to a running gateway: no answer may be a 5xx, no connection may hang, and in
the end nothing may be held.

  build/release/bin/baton serve tests/data/tiny-r1 --max-model-len 64 &
  tests/bench/fuzz_requests.py --url http://127.0.0.1:8000 --count 1000000

A body that has lost its max_tokens asks for as many tokens as there is room for: with little room the
time goes into requests.

Ends with status 1 and the bodies that failed (at most 20), reproducible by --seed: the bodies are the
same with any number of processes.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import sys
import time
import urllib.parse

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
SEEDS = [
    ("/v1/chat/completions", {**CHAT, "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "n": 2,
                              "logprobs": True, "top_logprobs": 2, "seed": 5}),
    ("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True},
                              "logit_bias": {"5": 1}, "chat_template_kwargs": {"a": [1, {}]}}),
    ("/v1/chat/completions", {**CHAT, "tool_choice": "auto", "parallel_tool_calls": False, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    ("/v1/chat/completions", {**CHAT, "tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"a": {"enum": [1, "x"]}, "b": {"type": "array", "items": {}}}}}}]}),
    ("/v1/completions", {"prompt": "x", "max_tokens": 1, "structured_outputs": {
        "grammar": 'root ::= <[2034]> %json {"type": "string"} | [a-z]{2,3}', "whitespace_pattern": " ?"}}),
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
                       "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}}),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
                      "max_tokens": 1, "system": "s", "thinking": {"type": "disabled"}}),
    ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("/tokenize", {"prompt": "text", "return_token_strs": True}),
    ("/detokenize", {"tokens": [1, 2, 3]}),
]
PART = 250  # bodies that a process takes at a time, over one connection
VALUES = [None, True, False, 0, 1, -1, 2**31, 2**63, -2**63, 1e308, 1.5, "", "x", "\x00", "😀" * 9,
          "<｜Assistant｜>", "</think>", [], {}, [[]], [None], {"type": "text"}, "a" * 5000]


def places(value, found, path=()):
    """Every place in a JSON value."""
    found.append(path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        places(inner, found, (*path, key))
    return found


def mutate_value(chance, body):
    """Replaces, drops or doubles something of the body."""
    body = json.loads(json.dumps(body))
    path = chance.choice(places(body, []))
    if not path:
        return chance.choice(VALUES)
    parent = body
    for key in path[:-1]:
        parent = parent[key]
    action = chance.randrange(4)
    if action == 0:
        del parent[path[-1]]
    elif action == 1 and isinstance(parent, list):
        parent.extend([parent[path[-1]]] * chance.randrange(1, 40))
    elif action == 2 and isinstance(parent, dict):
        parent[chance.choice(["x", "stop", "n", "model", "type", "content"])] = parent[path[-1]]
    else:
        parent[path[-1]] = chance.choice(VALUES)
    return body


def mutate_bytes(chance, data):
    """Changes, cuts or adds bytes."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        action = chance.randrange(3)
        if action == 0 and at < len(data):
            data[at] = chance.randrange(256)
        elif action == 1:
            del data[at:at + chance.randrange(8)]
        else:
            data[at:at] = bytes(chance.choice(b'{}[]",:0-eE\\u\x00\xff ') for _ in range(chance.randrange(1, 5)))
    return bytes(data)


def make(seed, index):
    """Path and body of one request; a function of the two numbers alone."""
    chance = random.Random(seed * 1_000_003 + index)
    path, body = chance.choice(SEEDS)
    for _ in range(chance.randrange(1, 4)):
        body = mutate_value(chance, body) if isinstance(body, (dict, list)) else body
    data = json.dumps(body).encode()
    return path, mutate_bytes(chance, data) if chance.randrange(4) == 0 else data


def send(url, indices, seed, timeout):
    """(statuses and how many of each, failures) of these bodies, over one connection."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout)
    statuses, failures = {}, []
    for index in indices:
        path, body = make(seed, index)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, text = type(error).__name__, str(error).encode()
        statuses[status] = statuses.get(status, 0) + 1
        if not isinstance(status, int) or status >= 500:
            failures.append((index, path, body, status, text[:300]))
    connection.close()
    return statuses, failures


def run(url, count, seed=1, timeout=60, processes=1):
    """As send, for the first `count` bodies; each process takes the next few when it is done with its own."""
    if processes == 1:
        return send(url, range(count), seed, timeout)
    parts = [(url, range(first, min(first + PART, count)), seed, timeout) for first in range(0, count, PART)]
    statuses, failures = {}, []
    with multiprocessing.Pool(processes) as pool:
        for part_statuses, part_failures in pool.starmap(send, parts, chunksize=1):
            for status, number in part_statuses.items():
                statuses[status] = statuses.get(status, 0) + number
            failures += part_failures
    return statuses, sorted(failures, key=lambda failure: failure[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=8)
    arguments = parser.parse_args()
    began = time.monotonic()
    statuses, failures = run(arguments.url, arguments.count, arguments.seed,
                             processes=arguments.processes)
    seconds = time.monotonic() - began
    print(f"{arguments.count} requests in {seconds:.1f} s ({arguments.count / seconds:.0f}/s): "
          + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items(), key=str)))
    for index, path, body, status, text in failures[:20]:
        print(f"request {index}: {status} from {path} for {body[:300]!r}: {text!r}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
