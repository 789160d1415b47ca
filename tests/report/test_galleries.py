"""Which images are shown, and what is said of them."""

import pytest
import torch

from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.report.galleries import galleries, seen, suspect_cards
from tests.helpers.reports import RGB, pictures, predicted


def shown(heat=None, n=60):
    predictions = predicted(n)
    images = ArrayImages(pictures(n), predictions.targets, "test")
    return predictions, galleries(predictions, images, RGB, heat, [0, 1, 2])


def test_worst_are_wrong_and_the_true_class_has_the_least_probability():
    predictions, found = shown()
    own = predictions.probabilities.gather(1, predictions.targets[:, None])[:, 0]
    wrong = [i for i in own.argsort().tolist() if predictions.labels[i] != predictions.targets[i]]
    assert [card.name for card in found.worst] == [f"{i}.jpg" for i in wrong[: len(found.worst)]]
    assert found.wrong == len(wrong)


def test_unsure_are_those_with_the_lowest_confidence_and_name_three_classes():
    predictions, found = shown()
    lowest = predictions.probabilities.max(1).values.argsort()[:12]
    assert [card.name for card in found.unsure] == [f"{i}.jpg" for i in lowest.tolist()]
    assert len(found.unsure[0].best) == 3


def test_typical_are_right_and_one_of_each_class():
    _, found = shown()
    assert [card.true for card in found.typical] == ["ant", "bee", "cow"] == [card.predicted for card in found.typical]


def test_heat_is_asked_for_the_predicted_class_and_lies_where_the_model_looked():
    asked = []

    def heat(places, classes):
        asked.extend(zip(places, classes, strict=True))
        return [torch.ones(2, 2)] * (len(places) - 1) + [None]

    predictions, found = shown(heat)
    assert all(predictions.labels[i] == c for i, c in asked)
    assert found.worst[0].heat.startswith("data:image/png")
    assert found.worst[0].box == (15.0, 6.25, 70.0, 87.5)


@pytest.mark.parametrize(
    ("size", "box"), [((32, 32), (6.25, 6.25, 87.5, 87.5)), ((32, 64), (28.12, 6.25, 43.75, 87.5))]
)
def test_what_the_model_saw_is_the_square_in_the_middle(size, box):
    assert seen(torch.zeros(3, *size, dtype=torch.uint8), RGB) == pytest.approx(box, abs=0.01)


def test_of_an_image_with_bars_it_is_more_than_the_image():
    how = Preprocessing(channels=3, resize=32, crop=32, fit="pad", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert seen(torch.zeros(3, 30, 60, dtype=torch.uint8), how) == pytest.approx((0, -50, 100, 200), abs=0.01)


def test_suspects_show_the_image_of_their_split_and_what_it_looks_like():
    images = ArrayImages(pictures(3), torch.arange(3), "val")
    found = suspect_cards([Suspect("1.jpg", "val", 1, "ant", "bee", 0.01, 0.97)], {"val": images}.__getitem__)
    assert (found[0].name, found[0].true, found[0].predicted) == ("val: 1.jpg", "ant", "bee")
    assert found[0].confidence == 0.97


def test_a_split_without_errors_shows_none():
    predictions = predicted(6, right=1.1)
    predictions.logits[range(6), predictions.targets] += 9
    found = galleries(predictions, ArrayImages(pictures(6), predictions.targets, "test"), RGB, None, [0, 1, 2])
    assert (found.worst, found.wrong, len(found.typical)) == ([], 0, 3)
