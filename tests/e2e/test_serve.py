"""`baton serve`: readiness, order, deaths, refusals; the list of commands."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest
import running_group


def serve(*arguments, timeout=60):
    """Runs `baton serve` until it ends by itself."""
    return subprocess.run([running_group.BIN / "baton", "serve", *arguments], capture_output=True,
                          text=True, timeout=timeout, check=False)


def test_is_ready_with_all_roles(group):
    assert set(group.pids) == {"gateway", "scheduler", "model-loader", "stage-worker-0",
                               "stage-worker-1"}
    assert f"ready: {group.endpoint}" in group.log.read_text()
    assert running_group.fetch(group.base_url + "/health/ready")[0] == 200
    for name, url in group.metrics_urls.items():
        base = url.removesuffix("/metrics")
        assert running_group.fetch(base + "/health/live")[0] == 200, name
        assert running_group.fetch(base + "/health/ready")[0] == 200, name
        assert group.metrics(name)["process_resident_memory_bytes"] > 0, name


def served_length(group):
    models = json.loads(running_group.fetch(group.endpoint + "/models")[1])
    return models["data"][0]["max_model_len"]


def test_the_environment_says_how_long_sequences_are_as_the_command_line_does(start_group,
                                                                              monkeypatch):
    monkeypatch.setenv("BATON_MAX_MODEL_LEN", "2k")
    by_environment = start_group(stages=1, ranks=1)
    assert served_length(by_environment) == 2000
    by_flag = start_group("--max-model-len", "auto", stages=1, ranks=1)
    assert served_length(by_flag) == 4096, "of config.json"


def test_stops_in_order_and_leaves_nothing(start_group):
    running = start_group(ranks=1)
    pids = list(running.pids.values())
    assert running.stop() == 0
    assert not any(running_group.alive(pid) for pid in pids)
    log = running.log.read_text()
    order = [log.index(f"[{name}]", log.index("[baton] stopping"))
             for name in ("gateway", "scheduler", "stage-worker-0", "model-loader")]
    assert order == sorted(order)


def test_reports_a_child_that_dies(start_group):
    running = start_group("--no-restart", ranks=1, may_die=True)
    pids = list(running.pids.values())
    os.kill(running.pids["stage-worker-1"], signal.SIGKILL)
    assert running.process.wait(60) == 1
    assert not any(running_group.alive(pid) for pid in pids)
    assert "stage-worker-1 (pid " in running.log.read_text()
    assert "died: killed by SIGKILL; its last lines:" in running.log.read_text()


def test_starts_a_stage_again_that_died(start_group):
    running = start_group(ranks=1, may_die=True)
    os.kill(running.pids["stage-worker-1"], signal.SIGKILL)
    ready = running.base_url + "/health/ready"
    running_group.wait_until(lambda: running_group.fetch(ready)[0] == 503, "not ready")
    running_group.wait_until(lambda: running_group.fetch(ready)[0] == 200, "ready again")
    code, text = running_group.complete(running, "What is 17 + 25?")
    assert code == 200, text
    assert "died: killed by SIGKILL" in running.log.read_text()
    assert running.stop() == 0


def test_leaves_no_orphans_when_killed(start_group):
    running = start_group(ranks=1, may_die=True)
    pids = list(running.pids.values())
    running.process.kill()
    running.process.wait(10)
    running_group.wait_until(lambda: not any(running_group.alive(pid) for pid in pids),
                             "all children are gone")


def test_names_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = serve(running_group.DEMO_MODEL, "--port", str(port), "--grpc-port", "0")
    assert result.returncode == 1
    assert "gateway (pid " in result.stderr
    assert str(port) in result.stderr


def test_suggests_the_flag_that_was_meant():
    result = serve(running_group.DEMO_MODEL, "--max-modle-len", "5")
    assert result.returncode == 2
    assert "unknown flag --max-modle-len; did you mean --max-model-len?" in result.stderr


def test_help_sets_what_commands_do_apart_from_their_arguments():
    text = subprocess.run([running_group.BIN / "baton", "--help"], capture_output=True, text=True,
                          timeout=60, check=True).stdout
    rows = [row for row in text.splitlines() if row.startswith("  baton ")]
    described = [match for row in rows if (match := re.match(r"  baton (\S+).*?  +(?=\S)", row))]
    assert len({match.end() for match in described}) == 1, text
    assert {row.split()[1] for row in rows} - {match[1] for match in described} == \
        {"version", "help"}, text


def test_warns_of_flags_that_mean_nothing_here(start_group):
    running = start_group("--enforce-eager", "--gpu-memory-utilization", "0.95", "--swap-space",
                          "4",
                          stages=1, ranks=1)
    log = running.log.read_text()
    assert "baton: --swap-space is ignored: " in log
    for flag in ("--enforce-eager", "--gpu-memory-utilization"):
        assert f"{flag} is ignored" not in log


def test_refuses_a_folder_without_a_model(tmp_path):
    result = serve(tmp_path)
    assert result.returncode == 2
    assert "has no config.json" in result.stderr


def ways_of_weights(running):
    """How the loader says that weights went to each stage."""
    ways = re.findall(r"stage \d+ loaded: .*; over (.+)", running.log.read_text())
    assert len(ways) >= 2, ways
    return ways


def test_weights_are_copied_out_of_the_loaders_memory(group):
    forbidden = r"memory lent by .* cannot be copied: .*(not permitted|not implemented)"
    if re.search(forbidden, group.log.read_text()):
        pytest.skip("the system lets no process copy from another's memory")
    assert all(way.startswith("lent memory, ") for way in ways_of_weights(group))


def test_a_whole_group_over_shared_memory(start_group, group):
    """Weights to both stages, hidden states between them and tokens back: no socket of UCX, and no
    lent memory."""
    def tokens(of):
        code, text = running_group.complete(of, "What is 17 + 25?", temperature=0, max_tokens=64,
                                            return_token_ids=True)
        assert code == 200, text
        return json.loads(text)["choices"][0]["token_ids"]

    running = start_group("--ucx-transports", "sm", "--no-lend-memory", stages=2, ranks=2)
    for way in ways_of_weights(running):
        assert "memory" in way and "lent" not in way and "tcp" not in way, way
    drawn = tokens(running)
    assert len(drawn) > 8
    assert drawn == tokens(group)
    for over, of in (("tcp", group), ("memory", running)):
        link = re.search(r"\[stage-worker-0\].*epoch \d+: hidden states of (.+) \(UCX\)",
                         of.log.read_text())
        assert link is not None and over in link[1], (over, link)
        assert over == "tcp" or "tcp" not in link[1], link
    assert running.stop() == 0
