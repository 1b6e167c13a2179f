"""The page that tests/bench/demo_results.py makes of figures that were made up."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))

import demo_results  # noqa: E402
import speed  # noqa: E402

LOADER_TEXT = "".join(
    f"{how} {side:<9} {rate:6.2f} GB/s (1.00 to 9.00), 0.50 s of processors per GB, "
    f"{ratio:.2f} of plain x1\n"
    for how, scale in (("cold", 1.0), ("warm", 2.0))
    for side, rate, ratio in (("plain x1", 1.5 * scale, 1.0), ("plain x4", 2.0 * scale, 1.33),
                              ("read", 1.4 * scale, 0.93), ("send tcp", 0.9 * scale, 0.6),
                              ("send sm", 1.2 * scale, 0.8), ("lend", 1.3 * scale, 0.85)))


def test_a_page_of_results_has_the_loaders_ratios():
    page = demo_results.loader_part(LOADER_TEXT)
    assert "| send sm | 1.20 | 0.80 | 2.40 | 0.80 |" in page.splitlines()
    assert "| send tcp | 0.90 | 0.60 | 1.80 | 0.60 |" in page.splitlines()
    assert "| lend | 1.30 | 0.85 | 2.60 | 0.85 |" in page.splitlines()
    with pytest.raises(ValueError, match="says nothing of send sm"):
        demo_results.loader_part("".join(line for line in LOADER_TEXT.splitlines(True)
                                         if "send sm" not in line))


def test_a_page_of_results_has_every_process_of_every_shape():
    figures = speed.Figures(ready=1.0, start_to_first=1.25, rates=[100.0, 130.0, 110.0],
                            first_tokens=[0.01, 0.03, 0.02],
                            idle={"gateway": 0.001, "scheduler": 0.002},
                            memory={"gateway": 60.4, "scheduler": 20.0})
    lines = demo_results.speed_part([("2x8", figures), ("1x1", figures)]).splitlines()
    for shape in ("2x8", "1x1"):
        assert f"| {shape} | 1.00 | 1.25 | 110 (100 to 130) | 20.0 (10.0 to 30.0) | 0.30 |" in lines
        assert f"| {shape} | gateway | 60 | 0.10 |" in lines
        assert f"| {shape} | scheduler | 20 | 0.20 |" in lines


def test_a_page_of_results_has_the_soaks_complaints_too():
    assert "```\nall is well\n```" in demo_results.soak_part(20, "all is well\n", 0)
    with pytest.raises(demo_results.Complaint, match="gateway grows by 300 bytes"):
        demo_results.soak_part(20, "gateway grows by 300 bytes per request\n", 1)


def test_a_page_of_results_knows_sources_that_are_there():
    assert all((demo_results.ROOT / path).is_file() for path in demo_results.CHANGED)
