"""What tests/bench/soak.py makes of memory that was made up."""

import math
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))

import soak  # noqa: E402


def soaked(mib_after, requests=10000):
    """Memory at a soak's checkpoints, in pages of 4 KiB: `mib_after(requests so far)`."""
    return [(place, math.floor(mib_after(place) * 256) / 256)
            for place in soak.checkpoints(requests)]


def test_a_soak_finds_what_is_kept_for_each_request():
    memory = {"gateway": soaked(lambda place: 60 + place * 300 / 2**20),
              "scheduler": soaked(lambda place: 30 + place * 200 / 2**20)}
    assert soak.growth(memory["gateway"]) == pytest.approx(300, rel=0.01)
    assert soak.growth(memory["scheduler"]) == pytest.approx(200, rel=0.01)
    assert soak.grown(memory, soak.BYTES_PER_REQUEST) == [
        "gateway grows by 300 bytes per request, more than 256"]
    assert len(soak.grown(memory, 100)) == 2
    # 2.6 MiB in all, which neither a tenth of the process nor 8 MiB would show.
    assert memory["gateway"][-1][1] - memory["gateway"][0][1] < 3


def test_a_soak_lets_memory_be_that_comes_in_steps_goes_up_and_down_or_shrinks():
    noise = random.Random(0)
    memory = {
        "step": soaked(lambda place: 60 if place < 4000 else 64),
        **{f"step at {at}": soaked(lambda place, at=at: 60 + 8 * (place > at))
           for at in range(1000, 10000, 250)},
        "two": soaked(lambda place: 60 + 2 * (place > 2000) + 2 * (place > 8500)),
        "noise": soaked(lambda place: 60 + noise.uniform(-1, 1)),
        "peak": soaked(lambda place: 60 + 20 * (4900 < place < 5300)),
        "shrinks": soaked(lambda place: 60 - place / 2000),
    }
    assert soak.grown(memory, soak.BYTES_PER_REQUEST) == []
    assert soak.growth(memory["shrinks"]) < -400


def test_a_soak_sees_growth_through_noise():
    noise = random.Random(0)
    memory = {"gateway": soaked(lambda place: 60 + place * 1000 / 2**20 + noise.uniform(-1, 1))}
    assert len(soak.grown(memory, soak.BYTES_PER_REQUEST)) == 1


def test_a_soak_looks_after_its_warm_up_and_at_its_end():
    places = soak.checkpoints(10000)
    assert (places[0], places[-1], len(places)) == (1000, 10000, soak.CHECKPOINTS + 1)
    assert soak.checkpoints(20)[-1] == 20
    with pytest.raises(ValueError):
        soak.checkpoints(9)
