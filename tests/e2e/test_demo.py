"""The command of the README: a question, streamed reasoning and an answer, and nothing left behind."""

import os
import subprocess

import running_group


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
    assert "UCX" in log


def test_refuses_what_it_does_not_know():
    result = run_demo("--twice", "x")
    assert result.returncode == 2
    assert "unknown flag --twice" in result.stderr


def test_fails_with_the_reason():
    result = run_demo("--once", "Hello", "--tensor-parallel-size", "5")
    assert result.returncode != 0
    assert "tools/demo: the group did not start" in result.stderr
    assert "5" in result.stderr
