"""How many flipped labels a report finds, and how many of its finds were flipped: the numbers of docs/report.md.

    python -m benchmarks.labels [--only caltech101_25,caltech256,fashion_mnist]

One label in twenty of every split is flipped to another class, drawn. Real images and the weights of mobilenet_v2 are
read from IGNITE_VISION_TEST_DATA. Counted are the images that the report judges: all of them where features lie in the
cache, else validation and test.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ignite_vision import datasets
from ignite_vision.data.splits import Splits

SETS = {  # the data set's function, where it lies, the recipe's other fields, seeds of flips; None: no flip
    "caltech101_25": ("image_folder", "caltech101_25", "head='logistic', epochs=20, trainable='head'", (None, 1, 2)),
    "caltech256": ("caltech256", "caltech256", "head='logistic', epochs=20, trainable='head'", (None, 1, 2)),
    "fashion_mnist": ("fashion_mnist", "fashion_mnist", "optimizer='adam', lr=1e-3, epochs=6", (1,)),
}
RECIPE = '''
import dataclasses
import torch
from ignite_vision import Recipe, datasets

def flip(images, seed):
    """Another label for each twentieth of the images."""
    generator = torch.Generator().manual_seed(seed)
    targets = images.targets.clone()
    wrong = torch.rand(len(targets), generator=generator) < {share}
    targets[wrong] += torch.randint(1, {classes}, (int(wrong.sum()),), generator=generator)
    return images.relabelled(targets % {classes})

def data(folder):
    splits = datasets.{make}(folder)
    changed = {{name: flip(images, {seed} + 100 * k) for k, (name, images) in enumerate(splits.items())}}
    return dataclasses.replace(splits, **changed)

recipe = Recipe(data={function}, val_fraction=0.125, test_fraction=0.125, batch_size=32, {fields})
'''
SHARE = 0.05


def labels_of(run: Path) -> dict[str, str]:
    """Class of each image, as the run was given it."""
    with (run / "splits.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["class"] for row in csv.DictReader(file)}


def true_labels(splits: Splits) -> dict[str, str]:
    """Class of each image, as the data set has it."""
    return {
        images.sample_id(i): splits.classes[target]
        for _, images in splits.items()
        for i, target in enumerate(images.targets.tolist())
    }


def trained(data: Path, name: str, seed: int | None, out: Path) -> Path:
    """Train on flipped labels, write the report, and return the run directory."""
    make, place, fields, _ = SETS[name]
    splits = getattr(datasets, make)(data / place)
    own = "model='fashion_mnist_cnn'" if name == "fashion_mnist" else "model='mobilenet_v2', weights='DEFAULT'"
    function = "data" if seed is not None else f"datasets.{make}"
    text = RECIPE.format(
        share=SHARE, classes=len(splits.classes), make=make, seed=seed, function=function, fields=f"{own}, {fields}"
    )
    recipe, run = out / f"{name}_{seed}.py", out / f"{name}_{seed}"
    recipe.write_text(text, encoding="utf-8")
    weights = ["--set", f"weights={data / 'weights' / 'mobilenet_v2.pth'}"] if name != "fashion_mnist" else []
    command = [sys.executable, "-m", "ignite_vision"]
    run_it = ["run", str(recipe), "--data", str(data / place), "--out", str(run), *weights]
    for arguments in (run_it, ["report", str(run)]):
        subprocess.run([*command, *arguments], check=True, capture_output=True)
    return run


def counted(run: Path, truth: dict[str, str]) -> Iterator[str]:
    """Cells of a table for the splits together and for each: images, flipped, found, right, precision, recall."""
    given = labels_of(run)
    flipped = {sample for sample, label in given.items() if truth[sample] != label}
    with (run / "splits.csv").open(encoding="utf-8", newline="") as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    with (run / "label_suspects.csv").open(encoding="utf-8", newline="") as file:
        found = {row["path"] for row in csv.DictReader(file)}
    judged = {split[sample] for sample in found}
    for name in ("train", "val", "test"):
        if name in judged:
            here = {sample for sample in given if split[sample] == name}
            planted, finds = flipped & here, found & here
            yield line(name, len(here), planted, finds)
    here = {sample for sample in given if split[sample] in judged}
    yield line("all", len(here), flipped & here, found & here)


def line(name: str, images: int, planted: set[str], finds: set[str]) -> str:
    """Cells of one row."""
    right = len(planted & finds)
    precision = f"{right / len(finds):.2f}" if finds and planted else "–"
    recall = f"{right / len(planted):.2f}" if planted else "–"
    return f"{name} | {images:,} | {len(planted)} | {len(finds)} | {right} | {precision} | {recall} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SETS), help="default: %(default)s")
    options = parser.parse_args()
    data = Path(os.environ["IGNITE_VISION_TEST_DATA"])
    print(
        "| data | flips | split | images | flipped | found | right | precision | recall |", "|---" * 9 + "|", sep="\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only.split(","):
            make, place, _, seeds = SETS[name]
            truth = true_labels(getattr(datasets, make)(data / place))
            for seed in seeds:
                for cells in counted(trained(data, name, seed, Path(scratch)), truth):
                    print(f"| {name} | {'none' if seed is None else f'seed {seed}'} | {cells}", flush=True)


if __name__ == "__main__":
    main()
