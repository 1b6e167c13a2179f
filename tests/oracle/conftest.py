import pytest

from text_oracle import TextProbe


@pytest.fixture(scope="session")
def probe():
    probe = TextProbe()
    yield probe
    probe.close()
