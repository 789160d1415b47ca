"""Where do I add: each of these comes from outside the package, in one file, and works. CONTRIBUTING.md in code."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import TopKCategoricalAccuracy
from torch import nn

from ignite_vision import Classifier, Container, Recipe, Splits
from ignite_vision.testing import digits, two_batches
from tests.helpers.runs import history, plan_of, train


def test_a_data_set_is_a_function_from_a_folder_to_splits(make_run):
    def upside_down(folder):
        splits = digits(folder)
        splits.train.images = splits.train.images.flip(2)
        return splits

    assert train(make_run(data_function=upside_down)).metrics["n"] == 12


class Drawn(Container):
    """Pictures that are drawn when asked for, always the same ones: a custom kind that caches may hold."""

    stable = True

    def __init__(self, n):
        super().__init__([i % 3 for i in range(n)], n)

    def __getitem__(self, i):
        k = int(self.index[i])
        generator = torch.Generator().manual_seed(k)
        return torch.randint(0, 80, (1, 8, 8), generator=generator, dtype=torch.uint8) + 80 * (k % 3), k % 3

    def fingerprint(self):
        return f"drawn {self.index.tolist()}"


def test_a_container_says_what_it_can_do_and_is_cached_accordingly(make_run):
    prepared = make_run(
        data_function=lambda folder: Splits(train=Drawn(90), classes=("a", "b", "c")), epochs=6, lr=0.01
    )
    assert train(prepared).metrics["accuracy"] > 0.5
    assert plan_of(prepared) == "resident"


@dataclasses.dataclass(frozen=True)
class Darker:
    """Augmentation with a number of its own for each image."""

    by: float = 0.5
    draws = 1

    def __call__(self, images, u, size):
        return (images * (1 - self.by * u[:, :, None, None])).to(torch.uint8)


def test_an_augmentation_is_a_callable_that_says_how_many_numbers_it_draws(make_run):
    assert train(make_run(augment=(Darker(),))).metrics["n"]


@dataclasses.dataclass(frozen=True)
class Soften:
    """Augmentation of the targets: a tenth of each goes to all classes."""

    classes: int
    targets = True

    def __call__(self, images, targets, size):
        return images, nn.functional.one_hot(targets, self.classes) * 0.9 + 0.1 / self.classes


def test_an_augmentation_may_change_the_targets_into_soft_ones(make_run):
    prepared = make_run(augment=(Soften(3),), epochs=3)
    train(prepared)
    assert history(prepared)[-1]["train_accuracy"] > 0.5


def test_a_metric_is_ignites_and_its_number_goes_into_the_history(make_run):
    def handlers(run):
        TopKCategoricalAccuracy(2).attach(run.evaluator, "top2")

        @run.trainer.on(Events.EPOCH_COMPLETED)
        def record():
            run.history.record("val_top2", run.evaluator.state.metrics["top2"], show=True)

    prepared = make_run(handlers=handlers)
    train(prepared)
    assert all(0 < row["val_top2"] <= 1 for row in history(prepared))
    assert "val_top2" in (prepared.directory.curves).read_text()
    assert any("val_top2" in line for line in prepared.say.__self__)


OUTSIDE_FAMILY = '''
"""A family of one network."""
from torch import nn
from ignite_vision.models import Family, InputSpec

def build(name, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

FAMILY = Family(
    prefix="outside",
    names=lambda: ["flat"],
    build=build,
    demands=lambda name, weights: InputSpec(1, 8, 8),
)
'''


@pytest.fixture
def outside_family(tmp_path):
    """A family in a folder beside the package's own."""
    from ignite_vision.models import families

    folder = tmp_path / "families"
    folder.mkdir()
    (folder / "flat.py").write_text(OUTSIDE_FAMILY)
    families.__path__.append(str(folder))
    families.all_families.cache_clear()
    yield
    families.__path__.remove(str(folder))
    sys.modules.pop("ignite_vision.models.families.flat", None)
    families.all_families.cache_clear()


def test_a_model_family_is_a_file_and_its_models_train_and_load_from_their_file(outside_family, make_run):
    prepared = make_run(model="flat")
    train(prepared)
    classifier = Classifier.load(prepared.directory)
    assert classifier.header["architecture"] == "outside:flat"
    images = torch.stack([prepared.splits.test[i][0] for i in range(5)])
    assert classifier(images).shape == (5, 3)


OUTSIDE_COMMAND = '''
"""A command from outside."""
import click

@click.command()
def greet():
    """Say hello."""
    click.echo("hello from outside")
'''


def test_a_command_is_a_file_in_the_folder_of_commands(tmp_path):
    (tmp_path / "greeting.py").write_text(OUTSIDE_COMMAND)
    program = f"""
import sys
from ignite_vision.cli import commands, main
commands.__path__.append({str(tmp_path)!r})
sys.argv = ["ignite-vision", "greet"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "hello from outside\n"), done.stderr


def test_a_recipe_of_all_of_these_runs_two_batches():
    recipe = Recipe(data=digits, model="digits_cnn", epochs=1, batch_size=16, augment=(Darker(), Soften(3)))
    assert two_batches(recipe).trainer.state.iteration == 2
