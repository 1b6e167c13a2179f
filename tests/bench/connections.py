#!/usr/bin/env python3
"""What connections cost the gateway in memory: many that are idle, and many streams that stand
still.

    tests/bench/connections.py [--idle 10000] [--streams 1000] [--tls]

The gateway is a process of its own, in front of a group that serves the demo model; streams hold
what their client does not read.
"""

import argparse
import json
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from running_group import RunningGroup  # noqa: E402


def resident_mib(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def own_certificate(folder):
    """Paths of a certificate for localhost that signs itself, and of its key."""
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", files[1],
                    "-out", files[0]],
                   check=True, capture_output=True)
    return files


class Crowd:
    def __init__(self, group, context):
        self.group = group
        self.context = context
        self.sockets = []

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.group.port), timeout=30)
        if self.context:
            connection = self.context.wrap_socket(connection, server_hostname="localhost")
        self.sockets.append(connection)
        return connection

    def leave(self):
        for connection in self.sockets:
            connection.close()
        self.sockets.clear()


def main():
    arguments = argparse.ArgumentParser(description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--idle", type=int, default=10_000)
    arguments.add_argument("--streams", type=int, default=1_000)
    arguments.add_argument("--tls", action="store_true", help="the same through TLS")
    options = arguments.parse_args()
    wanted = options.idle + options.streams + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="connections."))
    flags = ["--max-connections", str(wanted), "--max-num-requests", str(2 * options.streams),
             "--max-num-seqs", "64", "--max-num-queued-reqs", str(2 * options.streams),
             "--max-queue-wait", "10m", "--liveness-timeout", "30s"]
    context = None
    if options.tls:
        certificate, key = own_certificate(folder)
        flags += ["--ssl-certfile", certificate, "--ssl-keyfile", key]
        context = ssl.create_default_context(cafile=certificate)
    group = RunningGroup(folder, *flags, stages=1, ranks=1).wait_ready()
    try:
        measure(group, Crowd(group, context), options)
    finally:
        group.stop()


def measure(group, crowd, options):
    pid = group.pids["gateway"]
    base = resident_mib(pid)
    print(f"gateway alone: {base:.1f} MiB")

    begin = time.monotonic()
    ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(options.idle):
        connection = crowd.connect()
        connection.sendall(ask)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    now = resident_mib(pid)
    print(f"{options.idle} idle connections, each after one request "
          f"({time.monotonic() - begin:.1f} s): "
          f"{now:.1f} MiB, {(now - base) * 1024 / max(options.idle, 1):.2f} KiB each")
    crowd.leave()

    base = resident_mib(pid)
    body = json.dumps({"prompt": "x", "max_tokens": 64, "ignore_eos": True,
                       "stream": True}).encode()
    head = (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body))
    begin = time.monotonic()
    streams = [crowd.connect() for _ in range(options.streams)]
    for connection in streams:
        connection.sendall(head + body)
    peak = base
    pending = dict.fromkeys(streams, b"")
    while pending:
        connection, tail = next(iter(pending.items()))
        part = connection.recv(65536)
        assert part, "a stream broke off"
        peak = max(peak, resident_mib(pid))
        pending[connection] = (tail + part)[-64:]
        if b"data: [DONE]" in pending[connection]:
            del pending[connection]
    seconds = time.monotonic() - begin
    print(f"{options.streams} streams of 64 tokens at once ({seconds:.1f} s): {peak:.1f} MiB at "
          "most, "
          f"{(peak - base) * 1024 / max(options.streams, 1):.2f} KiB each more than before")
    crowd.leave()
    print(f"afterwards: {resident_mib(pid):.1f} MiB; load {os.getloadavg()[0]:.1f}")


main()
