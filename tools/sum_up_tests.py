#!/usr/bin/env python3
"""The last lines of tools/test: how many tests there were and failed, what was skipped, and why.

usage: sum_up_tests.py TITLE SECONDS CTEST_XML PYTEST_XML

A test of ctest is a whole file; what its cases skip is counted beside it: "cases". Ends with status
1 if a test failed or a report is not there.
"""

import collections
import dataclasses
import re
import sys
import xml.etree.ElementTree as tree

MOST_NAMES = 3
# What a case of googletest that skips itself prints. ctest knows only the test of a whole file,
# which passes.
_SKIPPED_CASE = re.compile(r"^\S+:\d+: Skipped\n(.*?)^\[  SKIPPED \] ([^\s,]+)",
                           re.MULTILINE | re.DOTALL)


@dataclasses.dataclass
class Report:
    tests: int
    failed: int
    skipped: list  # (reason, name) of each case


def read(path):
    """The JUnit report of ctest or pytest; one failure if there is none."""
    try:
        root = tree.parse(path).getroot()
    except (OSError, tree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return Report(0, 1, [])
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")

    def total(name):
        return sum(int(suite.get(name, 0)) for suite in suites)

    skipped = []
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        for element in case.iter("skipped"):
            skipped.append((element.get("message", ""), name))
        skipped += _SKIPPED_CASE.findall(case.findtext("system-out", ""))
    return Report(total("tests"), total("failures") + total("errors"), skipped)


def reasons(skipped):
    """A line for each reason, the most frequent first."""
    by_reason = collections.defaultdict(list)
    for reason, name in skipped:
        by_reason[" ".join(reason.split()) or "it does not say why"].append(name)
    lines = []
    for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        lines.append(f"  {len(names)} skipped, {reason}: {', '.join(names[:MOST_NAMES])}{more}")
    return lines


def summary(title, seconds, cpp, python):
    """The lines, for people."""
    return reasons(cpp.skipped + python.skipped) + [
        f"{title}: {cpp.tests + python.tests} tests, {cpp.failed + python.failed} failed "
        f"(C++ {cpp.failed} of {cpp.tests}, Python {python.failed} of {python.tests}), "
        f"{len(cpp.skipped) + len(python.skipped)} cases skipped (C++ {len(cpp.skipped)}, "
        f"Python {len(python.skipped)}), {seconds} s"]


def main(title, seconds, ctest_xml, pytest_xml):
    cpp, python = read(ctest_xml), read(pytest_xml)
    print("\n".join(summary(title, seconds, cpp, python)))
    return 1 if cpp.failed + python.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
