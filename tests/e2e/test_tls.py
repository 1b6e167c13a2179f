"""HTTP through TLS, as the flags of vLLM's names say it."""

import http.client
import http.server
import os
import socket
import ssl
import subprocess
import threading

import openai
import pytest
from running_group import BIN, wait_until


def make_certificate(folder, name, *more):
    """(certificate, key): PEM files for localhost; signs itself unless `more` says otherwise."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out",
                    certificate, *more], check=True, capture_output=True)
    return certificate, key


def get(group, path, context):
    connection = http.client.HTTPSConnection("localhost", group.port, timeout=30, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def served_certificate(group):
    return ssl.get_server_certificate(("127.0.0.1", group.port))


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_serves_and_reads_the_certificate_again(start_group, folder):
    certificate, key = make_certificate(folder, "first")
    group = start_group("--ssl-certfile", certificate, "--ssl-keyfile", key)
    assert group.endpoint.startswith("https://")
    context = ssl.create_default_context(cafile=certificate)
    assert get(group, "/health", context)[0] == 200
    client = openai.OpenAI(
        base_url=f"https://localhost:{group.port}/v1", api_key="none", max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=context))
    ask = {"model": group.model, "prompt": "What is 17 + 25?", "temperature": 0, "max_tokens": 60}
    whole = client.completions.create(**ask).choices[0].text
    stream = client.completions.create(stream=True, **ask)
    text = next(stream).choices[0].text
    # Others get the new certificate while this stream goes on.
    first = served_certificate(group)
    second = make_certificate(folder, "second")
    for old, new in ((key, second[1]), (certificate, second[0])):
        os.replace(new, old)
    wait_until(lambda: served_certificate(group) != first, "the new certificate")
    assert text + "".join(chunk.choices[0].text for chunk in stream) == whole
    with pytest.raises(ssl.SSLError):
        get(group, "/health", context)
    assert get(group, "/health", ssl.create_default_context(cafile=certificate))[0] == 200
    # What is no certificate is not taken.
    certificate.write_text("nonsense")
    second = served_certificate(group)
    assert second != first
    wait_until(lambda: "the certificate stays what it was" in group.log_tail(2000) or
               not served_certificate(group), "an error in the log")
    assert served_certificate(group) == second
    # Plain HTTP has no answer here.
    with socket.create_connection(("127.0.0.1", group.port), timeout=10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"HTTP/1.1" not in plain.recv(4096)
        except ConnectionResetError:
            pass


def read_to_the_end(context, group, request):
    """What comes until the server says that it is all; an end without a word is an SSLEOFError."""
    with socket.create_connection(("127.0.0.1", group.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost",
                                 suppress_ragged_eofs=False) as secure:
            secure.sendall(request)
            received = b""
            while piece := secure.recv(65536):
                received += piece
            return received


def test_ends_are_said_and_refusals_are_heard(start_group, folder):
    certificate, key = make_certificate(folder, "ends")
    group = start_group("--ssl-certfile", certificate, "--ssl-keyfile", key, "--max-connections",
                        "2")
    context = ssl.create_default_context(cafile=certificate)
    last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert read_to_the_end(context, group, last).startswith(b"HTTP/1.1 200")
    assert read_to_the_end(context, group, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    held = [http.client.HTTPSConnection("localhost", group.port, timeout=30, context=context)
            for _ in range(2)]
    for connection in held:
        connection.request("GET", "/version")
        assert connection.getresponse().read()
    assert read_to_the_end(context, group, last).startswith(b"HTTP/1.1 503")
    for connection in held:
        connection.close()
    wait_until(lambda: read_to_the_end(context, group, last).startswith(b"HTTP/1.1 200"), "a place")


def bench(url, trusted=None, *arguments):
    """`baton bench serve` against `url`; trusts nobody but the authority in `trusted`."""
    return subprocess.run(
        [BIN / "baton", "bench", "serve", "--base-url", url, "--num-prompts", "2",
         "--random-input-len", "8", "--random-output-len", "2", *arguments], capture_output=True,
         text=True, timeout=120, check=False,
        env=os.environ | {"SSL_CERT_FILE": str(trusted or "/dev/null"),
                          "SSL_CERT_DIR": "/nonexistent"})


def test_bench_serve_checks_certificates(start_group, folder):
    certificate, key = make_certificate(folder, "bench")
    group = start_group("--ssl-certfile", certificate, "--ssl-keyfile", key)
    for name in ("localhost", "127.0.0.1"):
        result = bench(f"https://{name}:{group.port}", certificate)
        assert result.returncode == 0, result.stderr
        assert "Successful requests:                     2" in result.stdout
    unknown = bench(f"https://localhost:{group.port}")
    assert unknown.returncode == 1
    assert "self-signed certificate" in unknown.stderr.replace("self signed", "self-signed")
    assert bench(f"https://localhost:{group.port}", None, "--insecure").returncode == 0


def test_bench_serve_wants_the_certificate_of_its_host(folder):
    certificate, key = folder / "other.pem", folder / "other.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=elsewhere",
                    "-addext", "subjectAltName=DNS:elsewhere", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        result = bench(url, certificate)
        assert result.returncode == 1
        assert "certificate verify failed" in result.stderr
        # The same server is spoken to if nobody checks: it has an answer, though no good one.
        assert "certificate" not in bench(url, certificate, "--insecure").stderr
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_clients_may_need_a_certificate(start_group, folder):
    certificate, key = make_certificate(folder, "server")
    trusted, trusted_key = make_certificate(folder, "client")
    other, other_key = make_certificate(folder, "stranger")
    group = start_group("--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-ca-certs",
                        trusted, "--ssl-cert-reqs", "2")

    def context(*pair):
        made = ssl.create_default_context(cafile=certificate)
        if pair:
            made.load_cert_chain(*pair)
        return made

    assert get(group, "/health", context(trusted, trusted_key))[0] == 200
    # Who comes back goes on with the session of before.
    mine, session = context(trusted, trusted_key), None
    for reused in (False, True):
        with mine.wrap_socket(socket.create_connection(("127.0.0.1", group.port), timeout=30),
                              server_hostname="localhost", session=session) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            assert connection.session_reused == reused
            session = connection.session
    status, page = get(group, "/openapi.json", context(trusted, trusted_key))
    assert status == 200 and len(page) > 10_000
    for stranger in (context(), context(other, other_key)):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            get(group, "/health", stranger)
