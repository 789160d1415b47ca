"""Small folders of pictures with faults, and what a check makes of them."""

import pytest

from tests.helpers import scans
from tests.helpers.pictures import write_pictures


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 3 classes with 10 different pictures each."""
    return write_pictures(tmp_path / "photos")


@pytest.fixture
def collected():
    """Return a function: a folder -> its images, in the splits that `run` would make."""
    return scans.collected


@pytest.fixture
def scanned():
    """Return a function: a folder -> its images and their records."""
    return scans.scanned
