"""The project's text side as a Python object, and where the test data lie."""

import json
import os
import pathlib
import select
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", ROOT / "build" / "release" / "bin"))
BUILD = pathlib.Path(os.environ.get("BATON_BUILD_DIR", BIN.parent))

# Answers take microseconds to milliseconds; a machine with too much to do gets more time.
ANSWER_TIMEOUT_S = 60


class TextProbe:
    """Runs text_probe, one request at a time."""

    def __init__(self):
        self._process = subprocess.Popen(
            [BUILD / "tests" / "text_probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._read = b""  # of an answer, so far

    def ask(self, **request):
        """The answer to a request; fails if it is not there within ANSWER_TIMEOUT_S."""
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        answers = self._process.stdout.fileno()
        while b"\n" not in self._read:
            if not select.select([answers], [], [], max(0, deadline - time.monotonic()))[0]:
                self._process.kill()
                raise AssertionError(f"no answer within {ANSWER_TIMEOUT_S} s: {request!r:.2000}")
            part = os.read(answers, 1 << 20)
            assert part, f"text_probe died of {request!r:.2000}"
            self._read += part
        answer, self._read = self._read.split(b"\n", 1)
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0, "text_probe did not end well"
