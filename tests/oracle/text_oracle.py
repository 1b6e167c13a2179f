"""The project's text side as a Python object, and where the test data lie."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", ROOT / "build" / "release" / "bin"))
BUILD = pathlib.Path(os.environ.get("BATON_BUILD_DIR", BIN.parent))


class TextProbe:
    """Runs text_probe, one request at a time."""

    def __init__(self):
        self._process = subprocess.Popen(
            [BUILD / "tests" / "text_probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0, "text_probe did not end well"
