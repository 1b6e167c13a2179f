"""Bodies that nobody would send on purpose: the group answers, and holds nothing afterwards."""

import socket
import subprocess
import sys
import threading

import pytest
from running_group import ROOT, fetch

sys.path.insert(0, str(ROOT / "tests/bench"))
import fuzz_requests  # noqa: E402
import schemathesis_run  # noqa: E402


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_bodies_leave_the_group_well(group, count):
    statuses, failures = fuzz_requests.run(group.base_url, count, seed=7, processes=2)
    assert not failures, failures[:3]
    assert sum(statuses.values()) == count, statuses
    assert statuses[200] > count / 60 and statuses[400] > count / 6, statuses
    assert group.leftovers() == {}
    assert fetch(group.base_url + "/health/ready")[0] == 200


@pytest.mark.slow
def test_schemathesis_finds_no_server_error(start_group, tmp_path):
    # Many requests name no limit and get as many tokens as fit: with little room none takes too
    # long.
    group = start_group("--max-model-len", "256")
    command = schemathesis_run.command(group.base_url, "--max-examples", "15")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert fetch(group.base_url + "/health/ready")[0] == 200


def serve_one_answer(listener):
    """Answers one request, closes while the others come in, and takes no connection after that."""
    connection, _ = listener.accept()
    listener.close()
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 27\r\n\r\n"
                       + b'{"error": {"message": "a"}}')
    connection.close()  # with unread bytes: a reset


def test_fuzzer_reports_a_server_that_goes_away():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = threading.Thread(target=serve_one_answer, args=[listener])
        server.start()
        statuses, failures = fuzz_requests.send(f"http://127.0.0.1:{port}", range(400), 7, 10, 1)
        server.join()
    assert sum(statuses.values()) == 400, statuses
    assert len(failures) >= 399, statuses
    assert all(status in ("ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError",
                          "ConnectionError")
               for _, _, _, status, _ in failures), statuses
