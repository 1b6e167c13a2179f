"""The last lines of tools/test, of reports that were made up."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

import sum_up_tests  # noqa: E402

CTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="(empty)" tests="{tests}" failures="{failures}" disabled="0" skipped="0">
  <testcase name="crc32c_test" classname="crc32c_test" status="run"><system-out>
[ RUN      ] Crc32c.Folds
[       OK ] Crc32c.Folds (0 ms)
[ RUN      ] Crc32c.HasAnInstruction
tests/unit/common/checksum/crc32c_test.cc:46: Skipped
no crc32 instruction

[  SKIPPED ] Crc32c.HasAnInstruction (0 ms)
[ RUN      ] Cells/Experts.Threads/0
tests/conformance/kernels/experts_test.cc:106: Skipped
has one thread

[  SKIPPED ] Cells/Experts.Threads/0, where GetParam() = 16-byte object (0 ms)
[ RUN      ] Crc32c.IsMute
tests/unit/common/checksum/crc32c_test.cc:50: Skipped

[  SKIPPED ] Crc32c.IsMute (0 ms)
[  PASSED  ] 1 test.
[  SKIPPED ] 3 tests, listed below:
[  SKIPPED ] Crc32c.HasAnInstruction
[  SKIPPED ] Cells/Experts.Threads/0
[  SKIPPED ] Crc32c.IsMute
</system-out></testcase>
</testsuite>"""

PYTEST = """<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="2"
    skipped="5" tests="9">
  {}
  <testcase classname="tests.manifests.test_images" name="test_run">
    <skipped type="pytest.skip" message="chroot needs root">test_images.py:76: ...</skipped>
  </testcase>
  <testcase classname="tests.e2e.test_serve" name="test_stops"/>
</testsuite></testsuites>"""
POD = """<testcase classname="tests.pods.test_rollout" name="test_{}">
    <skipped type="pytest.skip" message="network namespaces&#10; need root">...</skipped>
  </testcase>"""


@pytest.fixture
def reports(tmp_path):
    """Paths of a report of ctest without a failure and one of pytest with three."""
    ctest, python = tmp_path / "ctest.xml", tmp_path / "pytest.xml"
    ctest.write_text(CTEST.format(tests=7, failures=0))
    python.write_text(PYTEST.format("".join(POD.format(name) for name in "abcd")))
    return ctest, python


def test_tells_how_many_were_skipped_and_why(reports, capsys):
    assert sum_up_tests.main("tools/test (release)", "31", *reports) == 1
    assert capsys.readouterr().out.splitlines() == [
        "  4 skipped, network namespaces need root: test_rollout.test_a, test_rollout.test_b, "
        "test_rollout.test_c and 1 more",
        "  1 skipped, no crc32 instruction: Crc32c.HasAnInstruction",
        "  1 skipped, has one thread: Cells/Experts.Threads/0",
        "  1 skipped, it does not say why: Crc32c.IsMute",
        "  1 skipped, chroot needs root: test_images.test_run",
        "tools/test (release): 16 tests, 3 failed (C++ 0 of 7, Python 3 of 9), 8 cases skipped "
        "(C++ 3, Python 5), 31 s"]


def test_a_report_that_is_not_there_or_cut_off_is_a_failure(reports, tmp_path, capsys):
    ctest, python = reports
    python.write_text(PYTEST.format("").replace('errors="1" failures="2"', 'failures="0"'))
    assert sum_up_tests.main("tests", "1", ctest, python) == 0
    python.write_text(python.read_text()[:-10])
    assert sum_up_tests.main("tests", "1", ctest, python) == 1
    assert sum_up_tests.main("tests", "1", tmp_path / "none.xml", reports[0]) == 1
    told = capsys.readouterr()
    assert "none.xml" in told.err and "1 failed (C++ 1 of 0, Python 0 of 7)" in told.out
