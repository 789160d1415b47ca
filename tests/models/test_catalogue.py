"""Every model that can be named, with what a reader chooses by."""

import pytest

from ignite_vision.errors import UserError
from ignite_vision.models import names
from ignite_vision.models.catalogue import MOST_BUILT, Entry, catalogue


def test_the_catalogue_has_every_name_in_its_order():
    found = catalogue()
    assert [entry.name for entry in found] == [name for name in names() if "sapiens2" not in name]  # not square
    assert len(found) > MOST_BUILT
    by_name = {entry.name: entry for entry in found}
    assert by_name["resnet50"] == Entry("resnet50", 25_557_032, 224, None)
    assert by_name["timm:resnet50"].parameters is None
    assert by_name["timm:vit_small_patch14_dinov2"].pixels == 224
    assert by_name["timm:convnextv2_tiny"].licence == "cc-by-nc-4.0"


def test_a_narrow_pattern_is_counted():
    (lite,) = catalogue("timm:tf_efficientnet_lite0")
    assert lite == Entry("timm:tf_efficientnet_lite0", 4_652_008, 224, "apache-2.0")
    assert catalogue("digits_cnn")[0].licence == ""


def test_part_of_a_name_is_enough():
    assert {entry.name for entry in catalogue("shufflenet_v2_x0")} == {"shufflenet_v2_x0_5"}


def test_nothing_found_says_what_a_pattern_is():
    with pytest.raises(UserError, match="no model like 'x9'"):
        catalogue("x9")
