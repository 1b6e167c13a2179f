"""The command of the README: a question, streamed reasoning and an answer, and nothing left
behind."""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import running_group
from running_group import wait_until


def run_demo(*arguments):
    environment = dict(os.environ, BATON_PRESET=running_group.BIN.parent.name)
    return subprocess.run([running_group.ROOT / "tools/demo", *arguments], capture_output=True,
                          text=True, timeout=600, env=environment, check=False)


def test_answers_one_question():
    result = run_demo("--once", "What is 17 + 25?")
    assert result.returncode == 0, result.stderr
    reasoning, answer = result.stdout.split("answer:")
    assert "reasoning:" in reasoning
    assert len(reasoning.split("reasoning:")[1].strip()) > 0
    assert "42" in answer


def test_shows_four_kinds_of_processes_and_their_transport():
    result = run_demo("--once", "What is 17 + 25?", "--verbose", "--tensor-parallel-size", "2")
    assert result.returncode == 0, result.stderr
    log = result.stderr + result.stdout
    for name in ("gateway", "scheduler", "stage-worker-0", "stage-worker-1", "model-loader"):
        assert f"[{name}]" in log
    # What stage 0 says of the way to stage 1 as it joins the group.
    assert re.search(r"^.*\[stage-worker-0\].*epoch \d+: hidden states of .+ \(UCX\)$", log,
                     re.MULTILINE), log


def children(pid):
    """Of `pid`, and theirs."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = folder.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            child = int(folder.parent.name)
            found += [child, *children(child)]
    return found


def run_demo_once(folder, after_answer):
    """Of `tools/demo --once`: exit status, all that it wrote, the processes that it had when
    `after_answer(started, go, output)` was called, between the answer and the stop: {pid: name},
    what lets the demo go on, what it has written so far."""
    # tools/ask.py ends, and the demo goes on to the stop, when the test lets it.
    python3 = folder / "python3"
    python3.write_text(f"""#!/usr/bin/env bash
{shlex.quote(sys.executable)} "$@" || exit
[[ "$*" != *tools/ask.py* ]] || {{ echo answered; read -r _ <{shlex.quote(str(folder / 'go'))}; }}
""", encoding="utf-8")
    python3.chmod(0o755)
    os.mkfifo(folder / "go")
    output = folder / "output"
    environment = dict(os.environ, BATON_PRESET=running_group.BIN.parent.name,
                       BATON_LIVENESS_TIMEOUT="60s", PATH=f"{folder}:{os.environ['PATH']}")
    with output.open("wb") as to_output:
        demo = subprocess.Popen([running_group.ROOT / "tools/demo", "--once", "Hello", "--verbose",
                                 "--tensor-parallel-size", "2"],
                                stdout=to_output, stderr=subprocess.STDOUT, env=environment)
    try:
        def answered():
            assert demo.poll() is None, output.read_text()
            return "\nanswered\n" in output.read_text()

        wait_until(answered, "an answer", timeout=300)
        started = {pid: pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
                   for pid in children(demo.pid)}
        after_answer(started, lambda: (folder / "go").write_text("\n"),
                     lambda: output.read_text(errors="replace"))
        return demo.wait(120), output.read_text(errors="replace"), started
    finally:
        if demo.poll() is None:
            left = children(demo.pid)
            demo.kill()
            demo.wait(60)
            for pid in left:
                if running_group.alive(pid):
                    os.kill(pid, signal.SIGKILL)


def test_leaves_no_process_behind(tmp_path):
    status, text, started = run_demo_once(tmp_path, lambda started, go, output: go())
    assert status == 0, text
    assert sum(name.startswith("baton") for name in started.values()) == 6, started
    wait_until(lambda: not any(running_group.alive(pid) for pid in started), "nothing runs on")


def test_fails_if_a_process_is_killed_while_it_stops(tmp_path):
    def kill_one_that_stops(started, go, output):
        loader = next(pid for pid, name in started.items() if name.startswith("baton-model-lo"))
        os.kill(loader, signal.SIGSTOP)  # it is the last to be asked, and cannot stop
        go()
        wait_until(lambda: "[baton] stopping" in output(), "a stop that has begun")
        os.kill(loader, signal.SIGKILL)

    status, text, started = run_demo_once(tmp_path, kill_one_that_stops)
    assert status == 1, text
    assert "did not stop well: model-loader: killed by SIGKILL" in text
    assert "tools/demo: the group did not stop well" in text
    wait_until(lambda: not any(running_group.alive(pid) for pid in started), "nothing runs on")


def takes_interrupts():
    """For a test run in the background, whose children would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_serves_the_command_that_it_prints_until_ctrl_c(tmp_path):
    output, errors = tmp_path / "output", tmp_path / "errors"
    with output.open("wb") as to_output, errors.open("wb") as to_errors:
        demo = subprocess.Popen([running_group.ROOT / "tools/demo", "--port", "0",
                                 "--tensor-parallel-size", "2"],
                                stdout=to_output, stderr=to_errors, preexec_fn=takes_interrupts,
                                env=dict(os.environ, BATON_PRESET=running_group.BIN.parent.name))
    try:
        def serves():
            assert demo.poll() is None, errors.read_text()
            return "serving until Ctrl-C" in output.read_text()

        wait_until(serves, "a demo that serves", timeout=300)
        text = output.read_text()
        endpoint = re.search(r"^endpoint: (http://127\.0\.0\.1:\d+/v1)$", text, re.MULTILINE)[1]
        assert "answer:" in text
        command = re.search(r"^curl .*\\\n .*$", text, re.MULTILINE)[0]
        assert endpoint in command
        curl = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60,
                              check=False)
        assert curl.returncode == 0, curl.stderr
        answer = json.loads(curl.stdout)  # drawn, so its sum may be wrong
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert answer["usage"]["completion_tokens"] > 0
        started = children(demo.pid)
        assert len(started) >= 6  # `baton serve` and the group's five
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
        wait_until(lambda: not any(running_group.alive(pid) for pid in started), "nothing runs on")
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(60)


def test_refuses_what_it_does_not_know():
    result = run_demo("--twice", "x")
    assert result.returncode == 2
    assert "unknown flag --twice" in result.stderr


def test_fails_with_the_reason():
    result = run_demo("--once", "Hello", "--tensor-parallel-size", "5")
    assert result.returncode != 0
    assert "tools/demo: the group did not start" in result.stderr
    assert "5" in result.stderr
