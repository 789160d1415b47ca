"""Two settings under several seeds, and what is said of them."""

import pytest

from ignite_vision.evaluation.comparison import Paired
from ignite_vision.evaluation.contests import Contest, Setting

CLEAR, NOISE = Paired(1000, 900, 10, 40), Paired(1000, 900, 10, 14)
ONE, OTHER = Setting("A", (0.90, 0.901, 0.902)), Setting("B", (0.93, 0.931, 0.932))
WIDE = Setting("B", (0.80, 0.95, 0.99))


def verdict(one, other, pairs):
    contest = Contest(one, other, pairs)
    return contest.verdict(contest.means.chance)


def test_a_setting_has_mean_and_deviation():
    assert (ONE.mean, ONE.deviation) == (pytest.approx(0.901), pytest.approx(0.001))
    assert Setting("A", (0.9,)).deviation is None


def test_better_needs_seeds_images_and_three_of_each():
    assert verdict(ONE, OTHER, [CLEAR, CLEAR, NOISE]) == "better"
    assert verdict(ONE, OTHER, [CLEAR, NOISE, NOISE]) == "images"
    assert verdict(ONE, WIDE, [CLEAR, CLEAR, CLEAR]) == "seeds"
    assert verdict(ONE, WIDE, [NOISE, NOISE, NOISE]) == "unknown"
    assert verdict(Setting("A", (0.9, 0.901)), OTHER, [CLEAR, CLEAR]) == "seeds"


def test_a_pair_that_differs_the_other_way_does_not_count():
    assert Contest(ONE, OTHER, [CLEAR.turned(), CLEAR]).sure_pairs == 1


def test_equal_needs_both_intervals_within_a_point():
    same, large = Setting("B", (0.9005, 0.9008, 0.9020)), Paired(100_000, 90_000, 300, 310)
    assert verdict(ONE, same, [large] * 3) == "equal"
    assert verdict(ONE, same, [NOISE] * 3) == "unknown"


def test_the_words_name_the_better_first_whichever_way():
    contest = Contest(ONE, OTHER, [CLEAR] * 3)
    expected = (
        "B is better: mean 0.931 against 0.901 of 3 and 3 seeds on the same 1,000 images "
        "(+3.0 points, 95 % interval over seeds +2.8 to +3.2, p < 0.001)"
    )
    assert contest.words(contest.means.chance) == contest.turned().words(contest.means.chance) == expected
    assert Contest(ONE, OTHER, [NOISE] * 3).words(0.001).startswith("B is better on these images, but others may turn")
    assert Contest(ONE, WIDE, [CLEAR] * 3).words(0.5).startswith("B looks better, but other seeds may turn it: ")
    assert Contest(ONE, WIDE, [NOISE] * 3).words(0.5).startswith("no difference that these seeds and images can show")
