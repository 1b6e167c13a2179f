#!/usr/bin/env python3
"""Checks the message of a commit: title `area: imperative`, under 72 characters, then a blank line.

As a hook: ln -s ../../tools/lint/commit_message.py .git/hooks/commit-msg
"""

import pathlib
import re
import sys

TITLE = re.compile(r"[A-Za-z][A-Za-z0-9_./, -]*: \S")
LIMIT = 72
# What git writes, or will fold into another commit.
WRITTEN_BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")


def check(text):
    """Complaints about a message, as git hands it to the hook."""
    text = text.split("# ------------------------ >8 ------------------------")[0]
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        del lines[0]
    if not lines:
        return []  # git refuses it itself
    title = lines[0]
    if title.startswith(WRITTEN_BY_GIT):
        return []
    complaints = []
    if len(title) >= LIMIT:
        complaints.append(f"the title has {len(title)} characters, wanted under {LIMIT}: {title}")
    if not TITLE.match(title):
        complaints.append(f"the title does not begin with an area and a colon: {title}")
    if len(lines) > 1 and lines[1]:
        complaints.append(f"no blank line behind the title: {lines[1]}")
    return complaints


def main():
    complaints = check(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
