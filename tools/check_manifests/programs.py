"""The built programs, asked themselves: which flags they have, whether they take a command line."""

import functools
import os
import pathlib
import re
import subprocess

FLAG = re.compile(r"^  --([a-z0-9-]+)(?:.*?\(default: ([^)]*)\))?", re.MULTILINE)
SERVERS = ("baton-gateway", "baton-scheduler", "baton-stage-worker", "baton-model-loader")
OURS = (*SERVERS, "baton")


class Programs:
    """Programs of one folder. Answers are remembered: most containers are the same in all forms."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        missing = [name for name in OURS if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{folder}: {', '.join(missing)}: not built")
        self._answers = {}

    @functools.cached_property
    def flags(self):
        """Program -> flag -> default ("" if it has none)."""
        return {name: self._flags(name) for name in SERVERS}

    def _flags(self, name):
        result = self._run((name, "--help"), {})
        return {match[1]: match[2] or "" for match in FLAG.finditer(result.stdout)}

    def complaint(self, words, variables):
        """What the program says against a command line and BATON_* variables; "" if nothing.

        It reads everything before --help, the last word, ends it: nothing is started."""
        ours = {key: value for key, value in variables.items() if key.startswith("BATON_")}
        key = (tuple(words), tuple(sorted(ours.items())))
        if key not in self._answers:
            result = self._run((*words, "--help"), ours)
            self._answers[key] = "" if result.returncode == 0 else (
                result.stderr.strip().splitlines() or [f"status {result.returncode}"])[0]
        return self._answers[key]

    def _run(self, words, variables):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("BATON_")}
        return subprocess.run([self.folder / words[0], *words[1:]], env={**clean, **variables},
                              capture_output=True, text=True, timeout=60, check=False)
