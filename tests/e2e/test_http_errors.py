"""What clients do wrong, over plain sockets and through curl: each gets an answer, and the service
lives on."""

import http.client
import json
import socket
import subprocess

import pytest
from running_group import fetch

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]


def post(group, path, body, headers=None):
    """(status, parsed body, headers); `body` is an object or raw text."""
    connection = http.client.HTTPConnection("127.0.0.1", group.port, timeout=30)
    try:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request("POST", path, text, headers or {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


def raw(group, data):
    """All bytes that come back for `data`."""
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while True:
            part = connection.recv(65536)
            if not part:
                return received
            received += part


@pytest.fixture(autouse=True)
def alive_afterwards(group):
    yield
    assert fetch(group.base_url + "/health")[0] == 200
    status, body, _ = post(group, CHAT, {"messages": MESSAGES, "max_tokens": 1})
    assert status == 200, body


@pytest.mark.parametrize("body, param", [
    ("{", None),
    ('{"messages": [{"role": "user", "content": "Hi"}], "messages": []}', None),
    ({"messages": []}, "messages"),
    ({}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": MESSAGES, "max_tokens": -1}, "max_tokens"),
    ({"messages": MESSAGES, "max_tokens": "many"}, "max_tokens"),
    ({"messages": MESSAGES, "temperature": "hot"}, "temperature"),
    ({"messages": MESSAGES, "temperature": -1}, "temperature"),
    ({"messages": MESSAGES, "n": 100}, "n"),
    ({"messages": MESSAGES, "stream": 1}, "stream"),
    ({"messages": MESSAGES, "tools": [{"type": "function"}]}, "tools[0].function"),
    ({"messages": MESSAGES, "guided_regex": "(a"}, "guided_regex"),
    ({"messages": [{"role": "user", "content": "word " * 20000}]}, "messages"),
    ("[" * 100000, None),
])
def test_bad_requests(group, body, param):
    status, answer, _ = post(group, CHAT, body)
    assert status == 400
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]


NUMBERS = ["max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty",
           "frequency_penalty", "repetition_penalty", "n", "seed", "top_logprobs", "priority"]
VALUES = ["-1", "0", "2147483648", "9223372036854775808", "1e999", "NaN", "Infinity", '""', "null",
          "true", "[]", "{}", "-0.0", "1e-320", "0.5"]
NEVER = {"1e999", "NaN", "Infinity", '""', "true", "[]", "{}"}  # no number, or none that JSON has


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_times_every_odd_value(group, name):
    for value in VALUES:
        body = f'{{"prompt": "x", "max_tokens": 2, "{name}": {value}}}'
        path = "/v1/completions"
        if name == "max_tokens":
            body = f'{{"prompt": "x", "max_tokens": {value}}}'
        if name == "top_logprobs":  # chat has it
            path = CHAT
            body = (f'{{"messages": {json.dumps(MESSAGES)}, "logprobs": true, "max_tokens": 2, '
                    f'"{name}": {value}}}')
        status, answer, _ = post(group, path, body)
        assert status in ((400,) if value in NEVER else (200, 400)), (name, value, answer)


def test_unknown_model(group):
    status, answer, _ = post(group, CHAT, {"model": "gpt-4", "messages": MESSAGES})
    assert status == 404
    assert answer["error"]["param"] == "model"


def test_unknown_path_and_wrong_method(group):
    assert fetch(group.base_url + "/v1/nothing")[0] == 404
    assert fetch(group.base_url + CHAT)[0] == 405


def test_body_that_is_no_json(group):
    status, answer, _ = post(group, CHAT, "a=b",
                             {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 400
    assert "application/json" in answer["error"]["message"]


def test_body_that_is_too_large(group):
    status, answer, _ = post(group, CHAT, "x" * (5 << 20))
    assert status == 413
    assert "too large" in answer["error"]["message"]


@pytest.mark.parametrize("body, status, param, code", [
    ('{"messages": [', 400, None, "invalid_value"),
    ('{"messages": [], "max_tokens": 1}', 400, "messages", "invalid_value"),
    ('{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": "many"}', 400, "max_tokens",
     "invalid_value"),
    ('{"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}', 404, "model",
     "model_not_found"),
])
def test_curl(group, body, status, param, code):
    ran = subprocess.run(["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30",
                          "--write-out", "\n%{http_code} %{content_type}", "--header",
                          "Content-Type: application/json", "--data-raw", body,
                          group.base_url + CHAT], capture_output=True, text=True, check=True)
    answer, _, told = ran.stdout.rpartition("\n")
    assert told == f"{status} application/json"
    error = json.loads(answer)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error" and error["message"]


@pytest.mark.parametrize("data, status", [
    (b"GARBAGE\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40000 + b"\r\n\r\n", b"431"),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     b"400"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),  # TLS to a plain port
])
def test_malformed_http(group, data, status):
    answer = raw(group, data)
    assert answer.split(b" ")[1] == status
    assert b'"error"' in answer


def test_half_a_request_and_gone(group):
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
                           b"99\r\n\r\n{")


def test_probes(group):
    assert fetch(group.base_url + "/health") == (200, "")
    assert fetch(group.base_url + "/health/live")[0] == 200
    assert fetch(group.base_url + "/health/ready")[0] == 200
    assert fetch(group.base_url + "/ping")[0] == 200
    assert "version" in fetch(group.base_url + "/version")[1]
    assert "vllm:num_requests_running" in fetch(group.base_url + "/metrics")[1]
