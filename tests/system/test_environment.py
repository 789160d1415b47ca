"""The record of what decides the last bits of a result."""

import json

import torch

from ignite_vision._version import __version__
from ignite_vision.system import environment

CPU = torch.device("cpu")


def test_the_record_names_all_that_decides_the_last_bits():
    record = environment.record(CPU, "fp32")
    assert set(record) == {
        "versions",
        "device",
        "processor",
        "cpu_capability",
        "threads",
        "processes",
        "precision",
        "deterministic",
    }
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert json.loads(json.dumps(record)) == record


def test_a_package_that_is_not_there_is_missing(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    found = environment.versions()
    assert (found["ignite-vision"], found["no-such-package"]) == (__version__, "missing")


def test_the_processor_has_a_name():
    assert environment.processor(CPU)
