"""Two classifiers on the same images, and what is said of them."""

import numpy as np
import pytest

from ignite_vision.evaluation.comparison import Answer, Paired, Side, by_class, changed, pair, verdict, words

A, B = Side("A", (0.9,)), Side("B", (0.9,))


def answers(text):
    """`1:cat/dog` is image 1, a cat that is called a dog."""
    parts = [word.replace(":", "/").split("/") for word in text.split()]
    return {i: Answer(label, predicted) for i, label, predicted in parts}


ONE = answers("1:cat/cat 2:cat/dog 3:dog/dog 4:dog/cat 5:dog/dog")
OTHER = answers("5:dog/cow 1:cat/cat 2:cat/cat 3:dog/dog 4:dog/cow")


def test_images_are_paired_by_id():
    found = pair(ONE, OTHER)
    assert (found.n, found.one, found.lost, found.gained) == (5, 3, 1, 1)
    assert (found.accuracies, found.difference, found.chance) == ((0.6, 0.6), 0, 1.0)


def test_gained_and_lost_images_say_what_each_thought():
    gained, lost = changed(ONE, OTHER)
    assert [(i.id, i.label, i.one, i.other) for i in gained] == [("2", "cat", "dog", "cat")]
    assert [(i.id, i.label, i.one, i.other) for i in lost] == [("5", "dog", "dog", "cow")]


def test_classes_are_tested_each_and_corrected_for_their_number():
    one = {f"{label}{i}": Answer(label, "no") for label in "abc" for i in range(8)}
    other = {i: Answer(a.label, "a" if a.label == "a" else "no") for i, a in one.items()}
    found = by_class(one, other)
    assert list(found) == ["a", "b", "c"]
    assert found["a"][0].chance == pytest.approx(2 / 2**8)
    assert found["a"][1] == pytest.approx(3 * 2 / 2**8)
    assert found["b"][1] == 1.0


BETTER = Paired(10_000, 9_090, 400, 650)


def test_the_words_of_a_better_one_under_every_seed():
    one, other = Side("A", (0.909, 0.91, 0.908)), Side("B", (0.934, 0.93, 0.931))
    expected = (
        "B is better: 0.934 against 0.909 on the same 10,000 images "
        "(+2.5 points, 95 % interval +1.9 to +3.1, p < 0.001)"
    )
    assert words(BETTER, BETTER.chance, one, other) == expected
    turned = BETTER.turned()
    assert turned.difference == -BETTER.difference
    assert words(turned, turned.chance, other, one) == expected


def test_the_words_of_a_difference_that_cannot_be_seen():
    found = Paired(215, 200, 4, 5)
    assert words(found, found.chance, A, B) == (
        "no difference that 215 images can show: +0.5 points, interval -2.4 to +3.3; they disagree on 9 images. "
        "About 16,000 images would be needed for a difference this small"
    )
    same = Paired(215, 200, 1, 1)
    assert words(same, same.chance, A, B) == (
        "no difference that 215 images can show: 0.0 points, interval -1.6 to +1.6; they disagree on 2 images"
    )


def test_the_words_of_two_that_are_equally_good():
    found = Paired(10_000, 9_000, 100, 110)
    assert words(found, found.chance, A, B) == (
        "equally good within 1 point: 0.901 against 0.900 on the same 10,000 images "
        "(+0.1 points, 95 % interval -0.2 to +0.4)"
    )


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ((0.9,), (0.93,), "one seed each"),
        ((0.9,), (0.93, 0.93, 0.93), "fewer than 3 seeds of each"),
        ((0.9, 0.9, 0.931), (0.93, 0.93, 0.93), "other seeds may turn it"),
    ],
)
def test_the_words_of_a_better_one_that_seeds_may_have_made(one, other, why):
    assert words(BETTER, BETTER.chance, Side("A", one), Side("B", other)) == (
        f"B looks better, but {why}: 0.934 against 0.909 on the same 10,000 images "
        "(+2.5 points, 95 % interval +1.9 to +3.1, p < 0.001)"
    )


def test_a_corrected_chance_decides():
    found = Paired(100, 80, 1, 9)
    assert verdict(found, 0.02, A, B) == "seeds"
    assert verdict(found, 0.08, A, B) == "unknown"


def test_false_alarms_are_at_most_5_of_100():
    draws = np.random.default_rng(1).multinomial(300, (0.05, 0.05, 0.9), size=2_000)
    pairs = [Paired(300, 270, int(b), int(c)) for b, c, _ in draws]
    assert np.mean([verdict(found, found.chance, A, B) == "seeds" for found in pairs]) <= 0.05
