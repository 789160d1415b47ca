"""A header is a stranger's: every field is judged before anything is made of it."""

import pytest

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.header import check_header

PREPROCESSING = {
    "channels": 3,
    "resize": 256,
    "crop": 224,
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
}
HEADER = {
    "format_version": 1,
    "task": "single-label",
    "architecture": "torchvision:resnet18",
    "num_classes": 2,
    "classes": ["ant", "bee"],
    "preprocessing": PREPROCESSING,
    "precision": "bf16",
    "metrics": {"accuracy": 0.9},
    "temperature": 0.5,
}


def test_a_header_becomes_values_with_types():
    header = check_header({**HEADER, "batch_size": 16, "abstain_below": 0.7}, "m")
    assert (header.architecture, header.classes) == ("torchvision:resnet18", ("ant", "bee"))
    assert header.preprocessing.to_dict() == PREPROCESSING
    assert (header.precision, header.temperature, header.batch_size) == ("bf16", 0.5, 16)
    assert header.abstain_below == 0.7


def test_a_header_of_an_older_version_says_no_batch_size_and_no_threshold():
    header = check_header(HEADER, "m")
    assert (header.batch_size, header.abstain_below) == (None, None)


def test_fields_of_later_versions_are_left_alone():
    assert check_header({**HEADER, "of_later": 0.3}, "m") == check_header(HEADER, "m")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("task", [None, "multi-label", 3]),
        ("architecture", [None, 3, ["torchvision:resnet18"]]),
        ("classes", [["\ud800"], None, [], "ab", ["a", "a"], ["a", 1], {"a": 1}, ["a", ["b"]]]),
        ("num_classes", [None, 3, "2", [2]]),
        ("precision", [None, "auto", "fp8", ["fp32"], {}]),
        ("temperature", [None, "1", True, 0, -1.0, 1e-4, 1001, 10**400, float("nan"), float("inf")]),
        ("weights", ["x", 3, [], {}, {"source": "x"}, {"source": 1, "license": None}, {"source": "x", "license": 3}]),
        ("weights", [{"source": "x" * 2001, "license": None}]),
        (
            "calibration",
            [
                "val",
                {},
                {"fitted_on": "val", "n": -1, "thresholds": []},
                {"fitted_on": "val", "n": 10**13, "thresholds": []},
                {"fitted_on": 3, "n": 9, "thresholds": []},
                {"fitted_on": "val", "n": 9, "thresholds": [[1.0]]},
                {"fitted_on": "val", "n": 9, "thresholds": [[1.0, float("nan")]]},
                {"fitted_on": "val", "n": 9, "thresholds": [[1.0, 2.0]]},
                {"fitted_on": "val", "n": 9, "thresholds": [[1.0, 0.0]] * 101},
            ],
        ),
        ("abstain_below", ["0.5", True, -0.1, 1.5, float("nan"), [0.5]]),
        ("batch_size", [0, -1, 65_537, 16.0, True, "16"]),
        ("preprocessing", [None, [], "x", {}]),
    ],
)
def test_a_field_that_is_missing_or_out_of_bounds_is_named(field, values):
    for value in values:
        with pytest.raises(UserError, match=f"the model's header cannot be used: its {field}") as failure:
            check_header({**HEADER, field: value}, "m")
        assert failure.value.code == DAMAGED


@pytest.mark.parametrize(
    "change",
    [
        {"resize": 100_000},
        {"crop": 4097, "resize": 4097},
        {"crop": 0},
        {"crop": 300},
        {"crop": "224"},
        {"crop": 224.0},
        {"channels": True, "mean": [0.5], "std": [0.5]},
        {"channels": 2, "mean": [0.5] * 2, "std": [0.5] * 2},
        {"mean": [0.5]},
        {"mean": "012"},
        {"mean": [0.5, 0.5, float("nan")]},
        {"mean": [0.5, 0.5, 10**400]},
        {"std": [0.5, 0.5, 0.0]},
        {"std": [0.5, 0.5, 1e-300]},
        {"std": [0.5, 0.5, float("inf")]},
        {"std": [0.5, 0.5, None]},
        {"interpolation": "lanczos"},
        {"interpolation": ["bilinear"]},
        {"more": 1},
        {"fit": "stretch"},
        {"fit": ["pad"]},
        {"fit": "pad"},
        {"shape": [224]},
        {"shape": [224, 10**9]},
        {"shape": [224, 0]},
        {"shape": [100, 200]},
        {"shape": "224"},
        {"shape": [1, 4096], "crop": 1, "resize": 4096},
        {"bars": 256},
        {"reader": 3},
        {"reader": None},
    ],
)
def test_preprocessing_that_nothing_could_be_seen_through_is_refused(change):
    with pytest.raises(UserError, match="its preprocessing"):
        check_header({**HEADER, "preprocessing": {**PREPROCESSING, **change}}, "m")


def test_a_batch_that_would_take_all_memory_is_refused_and_a_large_one_is_not():
    for batch, size, fine in ((1024, 512, True), (65_536, 224, False), (64, 4096, False)):
        header = {**HEADER, "batch_size": batch, "preprocessing": {**PREPROCESSING, "crop": size, "resize": size}}
        if fine:
            assert check_header(header, "m").batch_size == batch
        else:
            with pytest.raises(UserError, match="its preprocessing"):
                check_header(header, "m")


def test_a_class_may_be_called_by_bytes_that_are_no_utf_8():
    assert check_header({**HEADER, "classes": ["a", "\udcff"], "num_classes": 2}, "m").classes == ("a", "\udcff")
