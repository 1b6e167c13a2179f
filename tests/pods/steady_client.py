"""A client that streams one answer after the other, and notes what came of each."""

import http.client
import json
import threading

QUESTION = {"model": "ds", "prompt": "The relay begins", "max_tokens": 200, "temperature": 0.0,
            "stream": True, "ignore_eos": True}
TIMEOUT_S = 120


def begin(address):
    """(connection, response) of a question to a gateway."""
    connection = http.client.HTTPConnection(address, 8000, timeout=TIMEOUT_S)
    connection.request("POST", "/v1/completions", json.dumps(QUESTION),
                       {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def read_whole(response):
    """The text of a streamed answer; RuntimeError if it is refused or not whole."""
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {response.read(300)}")
    text, done = "", False
    for line in response:
        if line.startswith(b"data: [DONE]"):
            done = True
        elif line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(str(event))
            text += event["choices"][0]["text"]
    if not done:
        raise RuntimeError("the stream ended early")
    return text


class SteadyClient:
    """Asks whichever gateway is ready, until stopped."""

    def __init__(self, cluster):
        self.answers = []
        self.failures = []
        self._cluster = cluster
        self._stop = threading.Event()
        self._answered = threading.Condition()
        cluster.before_close.append(self._stop.set)  # a test that fails does not stop it
        self._threads = cluster.network.threads(1)
        self._loop = self._threads.submit(self._ask_on)

    def _ask_on(self):
        while not self._stop.is_set():
            try:
                answered = self._ask_once()
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                answered = True
            if not answered:
                self._stop.wait(0.1)
            with self._answered:
                self._answered.notify_all()

    def _ask_once(self):
        # A pod's sleep before SIGTERM is for those who have chosen it already: see Cluster.delete.
        with self._cluster.choosing:
            addresses = self._cluster.endpoints()
            if not addresses:
                return False
            connection, response = begin(addresses[0])
        try:
            self.answers.append(read_whole(response))
        finally:
            connection.close()
        return True

    def await_answers(self, count):
        """Waits for `count` more answers or failures."""
        with self._answered:
            wanted = len(self.answers) + len(self.failures) + count
            assert self._answered.wait_for(
                lambda: len(self.answers) + len(self.failures) >= wanted, TIMEOUT_S)

    def stop(self):
        self._stop.set()
        self._loop.result(TIMEOUT_S)
        self._threads.shutdown()
