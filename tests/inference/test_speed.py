"""Numbers of a model's speed are of calls that were made."""

from ignite_vision import Classifier
from ignite_vision.inference.speed import FEWEST, WARM_UP, speed, timed


def test_calls_are_counted_after_the_warm_up():
    calls = []
    found = timed(lambda: calls.append(1), batch=4, seconds=0)
    assert len(calls) == WARM_UP + FEWEST
    assert found.milliseconds <= found.p95
    assert found.images_per_second > 0


def test_a_run_and_its_export_are_measured_alike(digits_run, digits_onnx):
    for path in (digits_run, digits_onnx):
        found = speed(Classifier.load(path), batch=2, seconds=0)
        assert found.batch == 2
        assert found.images_per_second == 2 / (found.milliseconds / 1e3)
