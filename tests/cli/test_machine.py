"""What `ignite-vision doctor` finds."""

from ignite_vision.cli import machine
from ignite_vision.system import memory


def test_doctor_says_when_there_is_no_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "gone")
    assert dict(machine.doctor())["shared memory"] == "none: use --workers 0"


def test_doctor_says_when_shared_memory_is_little(monkeypatch):
    monkeypatch.setattr(memory, "free_shared_memory", lambda: 64 << 20)
    assert dict(machine.doctor())["shared memory"].startswith("64 MiB free · little for loader workers: docker run")


def test_doctor_names_the_folders_that_are_used(tmp_path):
    found = dict(machine.doctor())
    assert (found["data folder"], found["runs folder"]) == (str(tmp_path / "data"), str(tmp_path / "runs"))
