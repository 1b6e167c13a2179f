"""tools/gpu_check on a machine without a GPU: programs that stand for the real ones."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PARTS = ("conformance", "model", "bench", "stage")


class Machine:
    """A folder of programs, and a PATH with what else the machine has."""

    def __init__(self, folder):
        self.programs = folder / "programs"
        self.path = folder / "path"
        self.table = folder / "table.md"
        self.programs.mkdir()
        self.path.mkdir()
        for tool in ("bash", "awk", "cat", "cp", "cut", "date", "dirname", "du", "grep", "head",
                     "mkdir", "mktemp", "rm", "sed", "sleep", "sort", "tail", "tee", "timeout",
                     "tr", "wc", "xargs", "ldd", "env"):
            found = shutil.which(tool)
            assert found, tool
            (self.path / tool).symlink_to(found)
        for part in PARTS:
            self.program(part, f'echo "{part}: $*"')
        self.program("bench",
                     'if [[ "$1" == --probe ]]; then echo cuda; else echo "| norm | 1 |"; fi')

    def program(self, part, body):
        self._script(self.programs / f"cuda_{part}", body)

    def tool(self, name, body):
        self._script(self.path / name, body)

    @staticmethod
    def _script(path, body):
        path.unlink(missing_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def check(self, *flags, script=ROOT / "tools/gpu_check"):
        command = [str(script), *flags]
        if script == ROOT / "tools/gpu_check":
            command += ["--programs", str(self.programs), "--table", str(self.table)]
        environment = {"PATH": str(self.path), "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_checks_nothing_without_a_device(machine):
    machine.program("bench", 'echo "no CUDA device" >&2; exit 3')
    result = machine.check("--full")
    assert result.returncode == 3
    assert "nothing was checked: no CUDA device" in result.stderr
    assert not machine.table.exists()


def test_quick_runs_conformance_and_says_what_it_left_out(machine):
    result = machine.check()
    assert result.returncode == 0
    assert "passed: conformance" in result.stdout
    assert "skipped: sanitizers, demo model, whole stage, bench: --quick" in result.stdout
    for part in ("model", "stage"):
        text = result.stdout.replace("whole stage, bench: ", "").replace("demo model, ", "")
        assert f"{part}: " not in text
    assert not machine.table.exists()


def test_full_runs_every_part_and_writes_the_table(machine):
    machine.tool("nvidia-smi", 'if [[ "$1" == --list-gpus ]]; then echo "GPU 0"; '
                               'else echo "NVIDIA Test, 80 GiB, 999.1"; fi')
    machine.tool("compute-sanitizer", 'echo "sanitizer: $2"')
    result = machine.check("--full")
    assert result.returncode == 0, result.stdout + result.stderr
    for part in ("conformance", "memcheck", "racecheck", "model", "stage", "bench"):
        assert f"passed: {part}" in result.stdout
    assert "stage: " + str(ROOT / "tools/../tests/data/deepseek-r1/config.json") in result.stdout
    table = machine.table.read_text()
    assert table.startswith("# NVIDIA Test, 80 GiB, 999.1\n")
    assert "| norm | 1 |" in table
    assert "- passed: racecheck" in table
    assert "- skipped: several devices: this machine shows 1" in table


def test_says_why_a_part_was_skipped(machine):
    machine.program("stage", 'echo "20.0 GB are free; 31 layers need 58.6"; exit 3')
    result = machine.check("--full")
    assert result.returncode == 0
    assert "skipped: memcheck: compute-sanitizer is not on the PATH" in result.stdout
    assert "skipped: stage: 20.0 GB are free; 31 layers need 58.6" in result.stdout
    assert "skipped: several devices: this machine shows 0" in result.stdout


def test_a_part_that_fails_fails_the_check_and_stops_no_other(machine):
    machine.program("conformance", 'echo "wrong by 3"; exit 1')
    result = machine.check("--full")
    assert result.returncode == 1
    assert "FAILED: conformance (status 1)" in result.stdout
    assert "passed: bench" in result.stdout
    assert "- FAILED: conformance" in machine.table.read_text()


def test_a_part_ends_at_its_limit(machine):
    machine.program("model", "sleep 50")
    result = machine.check("--full", "--limit", "5")
    assert result.returncode == 1
    assert "FAILED: model (did not end within 5 s)" in result.stdout
    assert "passed: bench" in result.stdout


def test_a_program_that_is_missing_fails_its_part(machine):
    (machine.programs / "cuda_model").unlink()
    result = machine.check("--full")
    assert result.returncode == 1
    assert "no cuda_model in" in result.stderr
    assert "passed: stage" in result.stdout


@pytest.mark.parametrize("part, most", [("--quick", 180), ("--full", 540)])
def test_limits_add_up(machine, part, most):
    result = machine.check("--list", part)
    assert result.returncode == 0
    limits = [int(line.split()[1]) for line in result.stdout.splitlines()]
    assert limits and sum(limits) <= most


@pytest.mark.parametrize("flags", [["--ful"], ["--limit", "soon"], ["--table"]])
def test_refuses_flags_that_it_does_not_know(machine, flags):
    result = subprocess.run([str(ROOT / "tools/gpu_check"), *flags], capture_output=True, text=True)
    assert result.returncode == 2
    assert flags[0].removesuffix("=") in result.stderr


def test_a_bundle_runs_by_itself(machine, tmp_path):
    machine.tool("ldconfig", "true")
    machine.tool("ldd", "true")
    bundle = tmp_path / "bundle"
    result = machine.check("--bundle", str(bundle))
    assert result.returncode == 0, result.stderr
    assert "without NCCL" in result.stdout
    result = machine.check("--full", script=bundle / "gpu_check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"stage: {bundle}/data/deepseek-r1/config.json" in result.stdout
    tables = list(bundle.glob("cuda-*.md"))
    assert [table.name for table in tables] == ["cuda-unknown.md"]
