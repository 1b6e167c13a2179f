"""Fixtures of the end-to-end tests: real processes on 127.0.0.1, the demo model, free ports."""

import pytest
import running_group


@pytest.fixture(scope="session")
def group(tmp_path_factory):
    """The group that most tests share: 2 stages x 2 ranks. Tests leave it as they found it."""
    running = running_group.RunningGroup(tmp_path_factory.mktemp("group"))
    try:
        yield running.wait_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_tail()


@pytest.fixture
def start_group(tmp_path):
    """Starts groups of a test's own: start_group(*flags, stages=1, ranks=1, ...); stopped after it."""
    started = []

    def start(*flags, ready=True, **options):
        folder = tmp_path / f"group{len(started)}"
        running = running_group.RunningGroup(folder, *flags, **options)
        started.append(running)
        return running.wait_ready() if ready else running

    yield start
    for running in started:
        running.stop()


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
