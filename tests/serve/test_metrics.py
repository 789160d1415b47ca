"""Counters as Prometheus reads them."""

import re

from ignite_vision.serve.metrics import Metrics


def values(text):
    """{name with its labels: number}."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+(\{\w+="[^"]*"\})? [\d.]+', line) for line in lines)
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_answers_are_counted_by_status_and_time():
    metrics = Metrics()
    for status, seconds in ((200, 0.004), (200, 0.005), (503, 0.3), (200, 99)):
        metrics.saw(status, seconds)
    found = values(metrics.text(inside=2, images=3, batches=1))
    assert found['ignite_vision_requests_total{status="200"}'] == 3
    assert found['ignite_vision_requests_total{status="503"}'] == 1
    assert found['ignite_vision_request_seconds_bucket{le="0.005"}'] == 2
    assert found['ignite_vision_request_seconds_bucket{le="0.5"}'] == 3
    assert found['ignite_vision_request_seconds_bucket{le="10.0"}'] == 3
    assert found['ignite_vision_request_seconds_bucket{le="+Inf"}'] == 4
    assert found["ignite_vision_request_seconds_count"] == 4
    assert found["ignite_vision_request_seconds_sum"] == 99.309
    assert found["ignite_vision_requests_inside"] == 2
    assert found["ignite_vision_images_total"] == 3


def test_every_metric_says_what_it_is():
    lines = Metrics().text(0, 0, 0).splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert names == {line.split()[2] for line in lines if line.startswith("# HELP")}
    assert len(names) == 5
