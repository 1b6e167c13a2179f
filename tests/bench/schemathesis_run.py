#!/usr/bin/env python3
"""Runs schemathesis over /openapi.json of a group of its own for so many seconds.

  BATON_BIN_DIR=build/release/bin tests/bench/schemathesis_run.py --seconds 180

No answer may be a 5xx or break the schema that the document gives for it. Prints schemathesis'
report, which says how many cases there were and how to repeat one that failed; ends with 1 if one
did, if the group is not ready afterwards or if one of its processes died meanwhile.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from running_group import RunningGroup  # noqa: E402


def command(base_url, *flags):
    """What to run, in a folder that it may write to."""
    return [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run",
            base_url + "/openapi.json", "--checks",
            "not_a_server_error,response_schema_conformance", "--phases",
            "examples,coverage,fuzzing", "--workers", "1", "--suppress-health-check", "all",
            "--generation-database", "none", "--exclude-path", "/metrics", *flags]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int, help="as an earlier report says, to repeat its cases")
    arguments = parser.parse_args()
    flags = ["--max-time", str(arguments.seconds), "--continue-on-failure"]
    if arguments.seed is not None:
        flags += ["--seed", str(arguments.seed)]
    with tempfile.TemporaryDirectory(prefix="schemathesis.") as folder:
        # Requests that name no limit get as many tokens as fit: with little room more of them are
        # sent.
        group = RunningGroup(pathlib.Path(folder) / "group", "--liveness-timeout", "30s",
                             "--max-model-len", "256")
        try:
            group.wait_ready()
            pids = dict(group.pids)
            status = subprocess.run(command(group.base_url, *flags), cwd=folder).returncode
            well = group.ready() and group.read_state().pids == pids
        finally:
            group.stop()
        if not well:
            print(f"the group is not what it was:\n{group.log_tail()}")
    return 0 if status == 0 and well else 1


if __name__ == "__main__":
    sys.exit(main())
