"""The checker finds each planted fault, and none in what manifests/ offers."""

import pathlib

import checks
import offered
import pytest
import render

BROKEN = sorted(pathlib.Path(__file__).parent.glob("broken/*"))


def expectation(folder):
    """(file, beginning of the reason) from the fixture's "# expect: FILE: REASON"."""
    for line in (folder / "kustomization.yaml").read_text().splitlines():
        if line.startswith("# expect: "):
            file, _, reason = line.removeprefix("# expect: ").partition(": ")
            return file, reason
    raise AssertionError(f"{folder}: no line \"# expect: FILE: REASON\"")


@pytest.mark.parametrize("folder", BROKEN, ids=lambda folder: folder.name)
def test_planted_fault_is_found(folder, built):
    file, reason = expectation(folder)
    complaints = checks.check(render.render(folder), built)
    assert complaints
    for complaint in complaints:
        assert complaint.file == file and reason in complaint.reason, str(complaint)


@pytest.mark.parametrize("name, folder, components", offered.combinations(),
                         ids=[name for name, _, _ in offered.combinations()])
def test_offered_combination_is_sound(name, folder, components, built):
    faults = checks.check(render.render_with(folder, components), built)
    assert [str(fault) for fault in faults] == []


def test_every_component_is_offered():
    folders = {path.name for path in (offered.MANIFESTS / "components").iterdir()}
    used = {path.name for _, _, components in offered.combinations() for path in components}
    assert folders == used
