"""Fixtures of the end-to-end tests: real processes on 127.0.0.1, the demo model, free ports."""

import re

import pytest
import running_group


def expect_nobody_died(running):
    """A crash that recovery heals is a crash all the same."""
    log = running.log.read_text(errors="replace")
    assert " died: " not in log and "starting it again" not in log, log[-8000:]
    # So is a step that a stage would not take: recovery repeats it, and the answers are the same.
    wrong = re.search(r"step \d+ is refused: .*", log)
    assert wrong is None, wrong[0]


@pytest.fixture(autouse=True)
def nobody_dies_in_the_shared_group(request):
    """Names the test in which a process of the shared group died, however well the others went
    on."""
    shared = request.getfixturevalue("group") if "group" in request.fixturenames else None
    before = dict(shared.read_state().pids) if shared else None
    yield
    assert shared is None or shared.read_state().pids == before, shared.log_tail()


@pytest.fixture(scope="session")
def group(tmp_path_factory):
    """The group that most tests share: 2 stages x 2 ranks. Tests leave it as they found it."""
    running = running_group.RunningGroup(tmp_path_factory.mktemp("group"), *running_group.PATIENT)
    try:
        yield running.wait_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_tail()
    expect_nobody_died(running)


@pytest.fixture
def start_group(tmp_path):
    """Starts groups of a test's own: start_group(*flags, stages=1, ranks=1, ...); stopped after it.

    may_die: the test kills processes; else each must live to the end and stop with status 0.
    """
    started = []

    def start(*flags, ready=True, may_die=False, **options):
        folder = tmp_path / f"group{len(started)}"
        running = running_group.RunningGroup(folder, *running_group.PATIENT, *flags, **options)
        started.append((running, may_die))
        return running.wait_ready() if ready else running

    yield start
    statuses = [running.stop() for running, _ in started]
    for (running, may_die), status in zip(started, statuses):
        if not may_die:
            assert status == 0, running.log_tail()
            expect_nobody_died(running)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the group's log to the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in item.funcargs.values():
        if isinstance(value, running_group.RunningGroup):
            report.sections.append((f"log of the group: {value.log}", value.log_tail()))
