"""For tests of recipes: tiny real images, and a run of two batches.

from ignite_vision.testing import digits, two_batches

def test_my_recipe_trains():
run = two_batches(my_recipe.recipe, data=digits)
assert run.trainer.state.iteration == 2
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ignite_vision import datasets
from ignite_vision.data.splits import Splits
from ignite_vision.loading.plan import choose
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe import Recipe
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.training.run import Run, build

CLASSES, PER_CLASS = 3, 20
BATCHES = 2
SIDE = 32  # pixels of a photograph


def digits(_folder: Path | None = None, classes: int = CLASSES, per_class: int = PER_CLASS) -> Splits:
    """The first real handwritten digits of some classes, (1,8,8) uint8: a data function for a recipe. No split."""
    everything = datasets.digits(Path())
    targets = everything.train.targets.tolist()
    chosen = [[i for i, target in enumerate(targets) if target == label][:per_class] for label in range(classes)]
    pool = everything.train.subset(sorted(i for indices in chosen for i in indices))
    return Splits(train=pool, classes=everything.classes[:classes])


def write_photos(folder: Path, classes: int = CLASSES, per_class: int = PER_CLASS, suffix: str = ".png") -> Path:
    """Write the same digits, 32x32 and RGB, as FOLDER/CLASS/NUMBER.png. Returns the folder."""
    splits = digits(None, classes, per_class)
    for i in range(len(splits.train)):
        pixels, label = splits.train[i]
        place = folder / splits.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels[0].numpy()).resize((SIDE, SIDE)).convert("RGB")
        image.save(place / f"{i:04}{suffix}")
    return folder


def two_batches(
    recipe: Recipe,
    data: Callable[[Path], Splits] | Path | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Build a run on the CPU with the recipe's handlers attached, and train two batches of it. Nothing is saved.

    data: a data function to take the recipe's place, or the folder that its own function gets. out: the run directory;
    None: a temporary name that is not created. say: called with each line that the run says.
    """
    if callable(data):
        recipe = dataclasses.replace(recipe, data=data)
    loaded = LoadedRecipe(recipe, "recipe", "recipe", Path(__file__))
    place = out or Path(tempfile.gettempdir()) / f"ignite-vision-{uuid.uuid4().hex}"
    folder = data if isinstance(data, Path) else Path()
    prepared = prepare(loaded, {}, Options(data=folder, out=place, device="cpu", workers=0), say)
    run = build(prepared, choose(prepared))
    if recipe.handlers is not None:
        recipe.handlers(run)
    with contextlib.closing(run.loaders):
        run.trainer.run(run.loaders.train, max_epochs=1, epoch_length=min(BATCHES, len(run.loaders.train)))
    return run
