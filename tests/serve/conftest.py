"""A server that the tests of this folder share, and how to start others."""

import pytest

from tests.helpers.classifiers import write_model
from tests.helpers.servers import Served


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a small network that is never sure: 0.99 is more than it ever says."""
    return write_model(tmp_path_factory.mktemp("model"), abstain_below=0.99, temperature=0.5)


@pytest.fixture(scope="session")
def server(children, model):
    served = Served(model)
    yield served
    served.end()


@pytest.fixture
def start(children, model):
    """Return a function that starts a server with other options, or another plan."""
    started = []

    def begin(*arguments, path=model, **options):
        started.append(Served(path, *arguments, **options))
        return started[-1]

    yield begin
    for served in started:
        served.end()
