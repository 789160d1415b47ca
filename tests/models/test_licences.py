"""What a licence asks, in words."""

import pytest

from ignite_vision.models.licences import concern, together


@pytest.mark.parametrize("licence", ["apache-2.0", "mit", "MIT", "bsd-3-clause", "apache-2.0, mit"])
def test_an_open_licence_needs_no_words(licence):
    assert concern(licence) is None


@pytest.mark.parametrize(
    "licence",
    [
        "cc-by-nc-4.0",
        "CC-BY-NC-4.0",
        "fair-noncommercial-research-license",
        "apple-amlr",
        "https://github.com/facebookresearch/SWAG",
        "apache-2.0, cc-by-nc-4.0",
        "unknown, gemma, cc-by-nc-4.0",
    ],
)
def test_a_licence_without_commercial_use_says_so(licence):
    assert "not for commercial use" in concern(licence)


@pytest.mark.parametrize("licence", ["dinov3-license", "gemma", "apache-2.0, gemma", "a licence in a foreign header"])
def test_another_licence_is_to_be_read(licence):
    assert "read it" in concern(licence)


@pytest.mark.parametrize("licence", [None, "unknown", "mit, unknown"])
def test_no_licence_is_said(licence):
    assert "no licence is stated" in concern(licence)


def test_the_licences_of_several_are_each_named_once():
    assert together(["mit", "apache-2.0", "mit"]) == "mit, apache-2.0"
    assert together([None, "mit"]) == "unknown, mit"
    assert together([None, None]) is None
