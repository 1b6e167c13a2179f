"""HTTP/1.1 as attackers and careless proxies write it: nothing is read in two ways, nothing hangs.

Each case is bytes on a plain socket. A case that another server in front could understand otherwise
must be refused, and the connection closed, before what follows it is looked at.
"""

import re
import socket
import time

import pytest
from running_group import fetch, wait_until

BODY = b'{"prompt": "x", "max_tokens": 1}'
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def exchange(group, *parts):
    """All bytes that come back until the server closes, and whether it does within 30 s of the last
    of them."""
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
            return received, True
        except TimeoutError:
            return received, False


def statuses(received):
    return [int(status)
            for status in re.findall(rb"(?:^|\r\n\r\n|[^\r\n]{0,4096})HTTP/1\.1 (\d{3}) ",
                                     received)]


def chunked(*lines):
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(lines)


AMBIGUOUS = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other order":
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 32\r\nContent-Length: 33\r\n\r\n" + BODY,
    "list of lengths": POST + b"Content-Length: 32, 33\r\n\r\n" + BODY,
    "length with a sign": POST + b"Content-Length: +32\r\n\r\n" + BODY,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "hexadecimal length": POST + b"Content-Length: 0x20\r\n\r\n" + BODY,
    "length and letters": POST + b"Content-Length: 32a\r\n\r\n" + BODY,
    "empty length": POST + b"Content-Length: \r\n\r\n" + BODY,
    "length over 64 bits": POST + b"Content-Length: 18446744073709551648\r\n\r\n" + BODY,
    "two codings": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "list of codings": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded coding before another header":
        POST + b"Transfer-Encoding:\r\n chunked\r\nX: 1\r\n\r\n0\r\n\r\n",
    "folded length": POST + b"Content-Length:\r\n 32\r\n\r\n" + BODY,
    "chunked in HTTP/1.0": chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "header without a colon": POST + b"Content-Length 32\r\n\r\n" + BODY,
    "header without a name": POST + b": 32\r\n\r\n" + BODY,
    "header beginning with a blank": POST + b" X: 1\r\nContent-Length: 32\r\n\r\n" + BODY,
    "folded header": POST + b"X: 1\r\n\tContent-Length: 99\r\nContent-Length: 32\r\n\r\n" + BODY,
    "NUL in a header": POST + b"X: a\0b\r\nContent-Length: 32\r\n\r\n" + BODY,
    "NUL in a name": POST + b"X\0: a\r\nContent-Length: 32\r\n\r\n" + BODY,
    "bare CR in a header": POST + b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 32\r\n\r\n"
    + BODY, "bare LF ends lines": POST.replace(b"\r\n", b"\n") + b"Content-Length: 32\n\n" + BODY,
    "bare LF ends one line": POST + b"X: a\nContent-Length: 32\r\n\r\n" + BODY,
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "chunk size of letters": chunked(b"g\r\n", BODY, b"\r\n0\r\n\r\n"),
    "negative chunk size": chunked(b"-20\r\n", BODY, b"\r\n0\r\n\r\n"),
    "chunk size with 0x": chunked(b"0x20\r\n", BODY, b"\r\n0\r\n\r\n"),
    "chunk size over 64 bits": chunked(b"10000000000000020\r\n", BODY, b"\r\n0\r\n\r\n"),
    "empty chunk size": chunked(b"\r\n", BODY, b"\r\n0\r\n\r\n"),
    "chunk longer than its size": chunked(b"1f\r\n", BODY, b"\r\n0\r\n\r\n"),
    "chunk shorter than its size": chunked(b"21\r\n", BODY, b"\r\n0\r\n\r\n"),
    "chunk ended by LF": chunked(b"20\r\n", BODY, b"\n0\r\n\r\n"),
    "version of the next major": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version without digits": b"GET /health HTTP/x.y\r\nHost: x\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "two blanks in the request line": b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank at its end": b"GET /health HTTP/1.1 \r\nHost: x\r\n\r\n",
    "control character in the target": b"GET /hea\x01lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "method of control characters": b"G\x01T /health HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(group, name):
    received, closed = exchange(group, AMBIGUOUS[name] + SMUGGLED)
    assert statuses(received) == [400], received[:2000]
    assert closed
    assert b'"error"' in received


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_it_is_refused_in_two_pieces_as_well(group, name):
    request = AMBIGUOUS[name]
    cuts = {match.start() + more for match in re.finditer(b"\n", request) for more in range(3)}
    for cut in sorted(cut for cut in cuts if cut < len(request)):
        with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The first piece comes with a request: it has been read when that is answered.
            connection.sendall(SMUGGLED + request[:cut])
            received = connection.recv(65536)
            connection.sendall(request[cut:] + SMUGGLED)
            while part := connection.recv(65536):
                received += part
        assert statuses(received) == [200, 400], (request[:cut], received[:2000])


@pytest.mark.parametrize("name, request_bytes, status", [
    ("headers of 40 KB", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40000 + b"\r\n\r\n", 431),
    ("101 headers", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
    ("target of 9 KB", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("declared body of 5 GB", POST + b"Content-Length: 5000000000\r\n\r\n{", 413),
    ("chunk of 5 GB", chunked(b"12a05f200\r\n{"), 413),
    ("unknown expectation", POST + b"Expect: 200-ok\r\nContent-Length: 32\r\n\r\n", 417),
])
def test_what_is_too_much_is_refused(group, name, request_bytes, status):
    received, closed = exchange(group, request_bytes)
    assert statuses(received) == [status], received[:2000]
    assert closed


@pytest.mark.parametrize("name, request_bytes, status", [
    ("absolute form", b"GET http://else.example/health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("absolute form without a path", b"GET http://else.example HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("authority form", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("dots", b"GET /health/../v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("encoded dots", b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("two slashes", b"GET //health HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("other case", b"GET /HEALTH HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ("query", b"GET /health?a=%00&b=/../ HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("unknown method", b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("method in small letters", b"get /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("chunks with extensions and trailers",
     chunked(b'20;a=b;c="d"\r\n', BODY, b"\r\n0\r\nX: y\r\n\r\n"), 200),
    ("chunks of one byte", chunked(*(b"1\r\n" + BODY[i:i + 1] + b"\r\n" for i in range(len(BODY))),
                                   b"0\r\n\r\n"), 200),
    ("empty lines before a request", b"\r\n\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("equal lengths named once", POST + b"Content-Length: 0032\r\n\r\n" + BODY, 200),
])
def test_what_is_odd_but_clear_is_answered(group, name, request_bytes, status):
    received, _ = exchange(group, request_bytes.replace(b"Host: x\r\n",
                                                        b"Host: x\r\nConnection: close\r\n"))
    assert statuses(received) == [status], received[:2000]


def test_pipelined_requests_are_answered_in_order(group):
    ask = POST + b"Content-Length: 32\r\n\r\n" + BODY
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received, _ = exchange(group, ask + SMUGGLED + ask + last)
    assert statuses(received) == [200, 200, 200, 404]
    received, closed = exchange(group, SMUGGLED + b"BAD\r\n\r\n" + SMUGGLED)
    assert statuses(received) == [200, 400]
    assert closed


def test_a_client_that_expects_100_continue_gets_it(group):
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 32\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    received, _ = exchange(group,
                           POST + b"Expect: 100-continue\r\nContent-Length: 5000000000\r\n\r\n")
    assert statuses(received) == [413]


def running(group):
    return sum(value for sample, value in group.metrics("scheduler").items()
               if sample.split("{")[0] in ("baton_scheduler_running_sequences",
                                           "baton_scheduler_waiting_sequences"))


def test_who_closes_half_of_the_connection_is_gone(group):
    ask = b'{"prompt": "x", "max_tokens": 3000, "ignore_eos": true, "stream": true}'
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(ask) + ask)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    wait_until(lambda: running(group) == 0, "the sequence is cancelled")


def test_slow_headers_are_given_up(group):
    """A hundred clients that send a byte now and then cost nobody else anything, and are told to
    go."""
    crowd = [socket.create_connection(("127.0.0.1", group.port), timeout=30) for _ in range(100)]
    begin = time.monotonic()
    for client in crowd:
        client.sendall(b"GET /health HTTP/1.1\r\nX")
    assert fetch(group.base_url + "/health")[0] == 200
    for client in crowd:
        received = b""
        while part := client.recv(4096):
            received += part
        assert statuses(received) == [408], received
        client.close()
    assert time.monotonic() - begin >= 9
