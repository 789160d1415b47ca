"""Event files that TensorBoard reads."""

import sys

import pytest
from tensorboardX.proto.event_pb2 import Event

from ignite_vision.training.tensorboard import Scalars


def events(folder):
    """Every event of every file, in order."""
    found = []
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:  # length (8 bytes), its checksum (4), the event, its checksum (4)
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_numbers_are_in_the_file_at_once(tmp_path):
    log = Scalars(tmp_path / "tensorboard", 1)
    log.write({"val/loss": 0.5, "lr": 0.25}, 3)
    values = [
        (event.step, value.tag, value.simple_value)
        for event in events(tmp_path / "tensorboard")
        for value in event.summary.value
    ]
    assert values == [(3, "val/loss", 0.5), (3, "lr", 0.25)]
    log.close()


def test_a_second_file_hides_what_was_rolled_back(tmp_path):
    Scalars(tmp_path, 1).close()
    Scalars(tmp_path, 4).close()
    starts = [event.step for event in events(tmp_path) if event.session_log.status]
    assert sorted(starts) == [1, 4]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Scalars(tmp_path / "file" / "tensorboard", 1)


def test_without_the_package_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ModuleNotFoundError, match="tensorboardX"):
        Scalars(tmp_path, 1)
