"""A finding is a line, and JSON."""

import json

from ignite_vision.health.findings import Finding, counted, listed, worst_first


def test_the_worst_come_first_and_stay_in_order():
    found = [
        Finding(kind, level, 1, kind, "")
        for kind, level in (("a", "note"), ("b", "look"), ("c", "must"), ("d", "look"))
    ]
    assert [finding.kind for finding in worst_first(found)] == ["c", "b", "d", "a"]


def test_a_finding_is_json():
    finding = Finding("dark", "look", 2, "2 images nearly black", "Look at them.", ("a.jpg", "b.jpg"))
    assert json.loads(json.dumps(finding.to_dict())) == {
        **{"kind": "dark", "level": "look", "n": 2, "message": "2 images nearly black", "next_step": "Look at them."},
        **{"images": ["a.jpg", "b.jpg"], "file": None},
    }
    assert finding.line() == "2 images nearly black. Look at them."


def test_numbers_and_lists_read_well():
    assert (counted(1, "image"), counted(1200, "image")) == ("1 image", "1,200 images")
    assert [counted(2, noun) for noun in ("class", "batch", "epoch")] == ["2 classes", "2 batches", "2 epochs"]
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed("abcde") == "'a', 'b', 'c' and 2 more"
