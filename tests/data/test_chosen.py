"""Chosen classes: whose images are kept, what they are called, and what is refused."""

import pytest
import torch

from ignite_vision import Splits
from ignite_vision.data.chosen import chosen, merged
from ignite_vision.data.containers import ArrayImages
from ignite_vision.errors import UserError

PETS = ("ant", "bee", "cow", "dog")


def numbered(n=12, name="train"):
    """Images whose first pixel is the number of the image, of four classes in turn."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    return ArrayImages(images, torch.arange(n) % 4, name)


def seen(images):
    """(id, pixel, class) of each."""
    return [(images.sample_id(i), int(images[i][0][0, 0, 0]), images[i][1]) for i in range(len(images))]


def test_the_images_of_the_chosen_classes_stay_with_their_ids_in_the_datas_order():
    given = Splits(numbered(), test=numbered(4, "test"), classes=PETS)
    some = chosen(given, ("dog", "bee"), None)
    assert some.classes == ("bee", "dog")
    assert seen(some.train) == [(f"train:{i}", i, int(i % 4 == 3)) for i in (1, 3, 5, 7, 9, 11)]
    assert seen(some.test) == [("test:1", 1, 0), ("test:3", 3, 1)]
    assert some.val is None
    assert given.train.targets.tolist() == [0, 1, 2, 3] * 3


def test_what_is_excluded_is_left_out_of_all_or_of_the_chosen():
    given = Splits(numbered(), classes=PETS)
    assert chosen(given, None, ("ant", "dog")).classes == ("bee", "cow")
    assert chosen(given, ("ant", "bee", "cow"), ("bee",)).classes == ("ant", "cow")
    assert chosen(given, None, None) is given


def test_groups_stay_with_their_images():
    images = numbered()
    images.groups = torch.arange(12) // 2
    assert chosen(Splits(images, classes=PETS), ("bee", "cow"), None).train.groups.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("classes", "exclude", "message"),
    [
        (("ant", "cat"), None, "the data has no class 'cat'. Did you mean"),
        (None, ("17",), "the data has no class '17'. Classes are ant, bee, cow, dog."),
        (("ant",), None, "of the data's 4 classes 1 would be left. A classifier needs at least two."),
        (("ant", "bee"), ("ant", "bee"), "of the data's 4 classes 0 would be left"),
    ],
)
def test_unknown_names_and_too_few_classes_are_refused(classes, exclude, message):
    with pytest.raises(UserError) as failure:
        chosen(Splits(numbered(), classes=PETS), classes, exclude)
    assert message in str(failure.value)


def test_a_torch_dataset_keeps_its_own_numbers_of_the_classes():
    class Squares(torch.utils.data.Dataset):
        targets = [0, 1, 2, 2]

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return torch.full((1, 4, 4), i, dtype=torch.uint8), self.targets[i]

    some = chosen(Splits(Squares(), classes=PETS[:3]), ("bee", "cow"), None)
    assert seen(some.train) == [("train:1", 1, 0), ("train:2", 2, 1), ("train:3", 3, 1)]


class TestMerged:
    def test_the_new_class_has_the_place_of_the_first_and_images_keep_their_ids(self):
        given = Splits(numbered(), test=numbered(4, "test"), classes=PETS)
        some = merged(given, {"insect": ("bee", "ant")})
        assert some.classes == ("insect", "cow", "dog")
        assert seen(some.train) == [(f"train:{i}", i, (0, 0, 1, 2)[i % 4]) for i in range(12)]
        assert some.test.targets.tolist() == [0, 0, 1, 2]
        assert given.train.targets.tolist() == [0, 1, 2, 3] * 3
        assert merged(given, None) is given

    def test_a_class_that_is_called_so_already_is_part_of_it(self):
        some = merged(Splits(numbered(), classes=PETS), {"bee": ("ant",), "beast": ("cow", "dog")})
        assert some.classes == ("bee", "beast")
        assert some.train.targets.tolist() == [0, 0, 1, 1] * 3

    def test_a_name_that_the_data_does_not_have_is_refused_unless_it_need_not_have_all(self):
        given = Splits(numbered(), classes=PETS)
        with pytest.raises(UserError, match="the data has no class 'antt'. Did you mean 'ant'"):
            merged(given, {"insect": ("antt", "bee")})
        assert merged(given, {"insect": ("antt", "bee")}, strict=False).classes == ("ant", "insect", "cow", "dog")

    def test_one_class_is_too_few(self):
        with pytest.raises(UserError, match="merge leaves 1 class"):
            merged(Splits(numbered(), classes=PETS), {"all": PETS})
