"""What every page has in common."""

from ignite_vision.report.template import shown


def test_what_does_not_print_is_escaped_and_narrow_spaces_stay():
    assert shown("a\x1bb") != "a\x1bb"
    assert shown("98.2\u202f%") == "98.2\u202f%"
