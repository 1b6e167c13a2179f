"""Lets the tests import the checker, and gives them the built programs."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools/check_manifests"))


@pytest.fixture(scope="session")
def built():
    import programs
    return programs.Programs(os.environ.get("BATON_BIN_DIR", ROOT / "build/release/bin"))
