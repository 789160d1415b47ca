"""What is taken for what, in words and pictures."""

import base64
import io

import numpy as np
from PIL import Image

from ignite_vision.report.confusions import MOST_IN_TABLE, alike, confusions, pairs

NAMES = ("ant", "bee", "cow", "dog")


def test_classes_that_are_alike_stand_together():
    probabilities = np.array([[0.6, 0, 0.4, 0], [0, 0.6, 0, 0.4], [0.4, 0, 0.6, 0], [0, 0.4, 0, 0.6]])
    order = alike(probabilities, np.arange(4), 4)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1


def test_probabilities_that_say_nothing_give_some_order():
    assert sorted(alike(np.full((3, 3), np.nan), np.arange(3), 3)) == [0, 1, 2]
    assert alike(np.ones((1, 1)), np.zeros(1, int), 1) == [0]


def test_pairs_are_those_confused_most_and_never_what_happened_once():
    counts = np.array([[5, 2, 0, 1], [1, 7, 0, 0], [0, 0, 9, 2], [0, 0, 0, 3]])
    first, second = pairs(counts, NAMES)
    assert (first.first, first.second, first.n, first.of) == ("ant", "bee", 3, 16)
    assert (first.first_for_second, first.second_for_first) == (2, 1)
    assert (second.first, second.second, second.n) == ("cow", "dog", 2)


def test_few_classes_are_a_table_with_every_count():
    counts = np.array([[3, 1], [0, 4]])
    found = confusions(counts, np.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]], np.array([0, 0, 0, 0, 1, 1, 1, 1]), ("ant", "bee"))
    cells = {(name, cell.predicted): (cell.n, cell.share, cell.right) for name, row in found.rows for cell in row}
    assert cells["ant", "bee"] == (1, 0.25, False)
    assert cells["bee", "bee"] == (4, 1.0, True)
    assert found.picture is None


def test_many_classes_are_a_picture_with_a_point_for_each_pair():
    c = MOST_IN_TABLE + 1
    counts = np.eye(c, dtype=np.int64)
    counts[0, 1] = 1
    found = confusions(counts, np.eye(c), np.arange(c), tuple(map(str, range(c))))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.picture.partition(",")[2]))))
    assert pixels.shape == (c, c, 4)
    assert (pixels[..., 3] > 0).sum() == c + 1
    assert [0, 1, 1] in found.sparse["cells"]
    assert found.rows is None
