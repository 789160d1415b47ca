"""Counters in the text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds: Prometheus' own


class Metrics:
    """What was asked of /predict so far. requests: by status code."""

    def __init__(self) -> None:
        self.requests: collections.Counter[int] = collections.Counter()
        self.seconds, self.buckets = 0.0, [0] * (len(EDGES) + 1)

    def saw(self, status: int, seconds: float) -> None:
        """Count a request that was answered with this status after this time."""
        self.requests[status] += 1
        self.seconds += seconds
        self.buckets[sum(seconds > edge for edge in EDGES)] += 1

    def text(self, inside: int, images: int, batches: int) -> str:
        """Return all of it, with what others have counted: requests inside now, images and batches computed."""
        return "\n".join([*self._lines(inside, images, batches), ""])

    def _lines(self, inside: int, images: int, batches: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests to /predict, by status.")
        for status, n in sorted(self.requests.items()):
            yield f'ignite_vision_requests_total{{status="{status}"}} {n}'
        for name, kind, what, value in (
            ("requests_inside", "gauge", "Requests that are decoded, wait or are computed.", inside),
            ("images_total", "counter", "Images that were classified.", images),
            ("batches_total", "counter", "Forward passes that they took.", batches),
        ):
            yield from _head(name, kind, what)
            yield f"ignite_vision_{name} {value}"
        yield from _head("request_seconds", "histogram", "From the first byte of a request to its answer.")
        for edge, n in zip((*EDGES, "+Inf"), itertools.accumulate(self.buckets), strict=True):
            yield f'ignite_vision_request_seconds_bucket{{le="{edge}"}} {n}'
        yield f"ignite_vision_request_seconds_sum {self.seconds:.6f}"
        yield f"ignite_vision_request_seconds_count {sum(self.buckets)}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP ignite_vision_{name} {what}", f"# TYPE ignite_vision_{name} {kind}"
