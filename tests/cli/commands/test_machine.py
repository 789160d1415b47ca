"""`doctor`."""

import re

from tests.helpers.command_line import assert_one_error_line


def test_doctor_tells_what_a_bug_report_needs(ignite_vision):
    code, out, _ = ignite_vision("doctor")
    assert code == 0
    for subject in ("torch", "torchvision", "pytorch-ignite", "device", "precision", "threads", "shared memory"):
        assert re.search(rf"^{subject}\s+\S", out, re.M)


def test_doctor_takes_no_argument(ignite_vision):
    assert_one_error_line(
        ignite_vision("doctor", "x"), "unexpected extra argument", "See `ignite-vision doctor --help`"
    )
