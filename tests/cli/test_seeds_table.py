"""What `run --seeds` prints at the end."""

from pathlib import Path

from ignite_vision.cli.seeds_table import lines
from ignite_vision.run_directory import SeedsDirectory
from ignite_vision.seeds import Seeded, Spread


def metrics(accuracy, loss=float("nan")):
    numbers = {"accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": 0.5, "loss": loss}
    return {**numbers, "split": "test", "n": 4500, "epoch": 2, "epochs": 3, "exact": True}


def spread(*found):
    folder = SeedsDirectory(Path("several"))
    return Spread(folder, [Seeded(seed, folder.run(seed), numbers) for seed, numbers in enumerate(found)])


def test_it_says_each_seed_their_mean_and_their_spread():
    folder = SeedsDirectory(Path("several"))
    found = Spread(folder, [Seeded(seed, folder.run(seed), metrics(0.9 + 0.01 * seed)) for seed in (1, 3)])
    assert [line.split() for line in lines(found)][:5] == [
        ["seed", "accuracy", "balanced", "macro", "F1", "loss", "best", "epoch"],
        ["1", "0.9100", "0.9100", "0.5000", "nan", "2", "of", "3"],
        ["3", "0.9300", "0.9300", "0.5000", "nan", "2", "of", "3"],
        ["mean", "0.9200", "0.9200", "0.5000", "nan"],
        ["spread", "0.0141", "0.0141", "0.0000", "nan"],
    ]
    assert "test, 4,500 images; spread: standard deviation over 2 seeds" in list(lines(found))


def test_a_spread_of_zero_is_explained_and_a_small_one_is_not():
    told = "the seed changed nothing"
    assert any(told in line for line in lines(spread(metrics(0.9, 0.3), metrics(0.9, 0.3))))
    assert not any(told in line for line in lines(spread(metrics(0.9, 0.3), metrics(0.9, 0.31))))
