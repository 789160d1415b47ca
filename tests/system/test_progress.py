"""Who waits is told how long, every few seconds."""

from ignite_vision.system import progress
from ignite_vision.system.progress import with_progress


def test_progress_is_said_every_few_seconds_with_an_estimate(monkeypatch):
    clock = iter(range(0, 100, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    lines = []
    assert list(with_progress("abcd", 4, "decoding", lines.append)) == list("abcd")
    assert lines == ["decoding: 50%, 8 s to go", "decoding: 100%, 0 s to go"]
