"""The head of the default command against scikit-learn's logistic regression on the same features and splits.

    python -m benchmarks --only heads

Real weights are the files in IGNITE_VISION_TEST_DATA/weights that are named after the models. Features are kept where
the command keeps them, so the ways to train a head share one pass over a network.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ours import quiet
from ignite_vision import datasets
from ignite_vision.jobs import train_and_evaluate
from ignite_vision.loading.plan import Rows, choose
from ignite_vision.prepare import Options, Prepared, prepare
from ignite_vision.recipe_files import load
from ignite_vision.training.logistic import fit_path

FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {  # where they lie, and what the recipe has of its own
    "caltech101_25": ("caltech101_25", {}),
    "caltech256, ten categories": ("caltech256/256_ObjectCategories", {}),
    "stanford_dogs, ten breeds": ("stanford_dogs", {"data": datasets.stanford_dogs, "val_fraction": 0.1}),
}
LITE0, LITE2 = "timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite2"
MODELS = ("mobilenet_v2", f"mobilenet_v2+{LITE0}+{LITE2}", LITE2, LITE0, "squeezenet1_0")
SEEDS = 3  # splits
STRENGTHS = 10.0 ** np.arange(-4, 1.5, 0.5)  # scikit-learn's C
MANY = (50_000, 1280, 100)  # images, features, classes
PATH = 13  # strengths of `head=auto`, at most
Table = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Found:
    """Test accuracies of one split, and seconds."""

    ours: float
    theirs: float
    adam: float
    head_seconds: float
    command_seconds: float
    note: str


def weights_of(data: Path, model: str) -> Path:
    """The file that is named after a model."""
    name = model.removeprefix("timm:")
    return next(path for path in sorted((data / "weights").iterdir()) if path.name.split(".")[0] == name)


def prepared_for(data: Path, folder: str, model: str, seed: int, out: Path, head: str) -> Prepared:
    """What the default command prepares: `run FOLDER --set model=... --set split_seed=...`."""
    place, changes = FOLDERS[folder]
    loaded = load("folder")
    loaded = dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, **changes))
    weights = "+".join(str(weights_of(data, part)) for part in model.split("+"))
    overrides = {"model": model, "weights": weights, "split_seed": str(seed), "seed": str(seed), "head": head}
    return prepare(loaded, overrides, Options(data=data / place, out=out, device="cpu"), quiet)


def scikit_learn(features: Callable[[str], Table]) -> float:
    """Test accuracy of the strength that is best on validation, of standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(*features("train"))
        for c in STRENGTHS
    ]
    best = max(fitted, key=lambda model: model.score(*features("val")))
    return float(best.score(*features("test")))


def measured(data: Path, folder: str, model: str, seed: int, out: Path) -> Found:
    """Run the default command, Adam's way, and scikit-learn's on one split."""
    accuracies, seconds = {}, {}
    for head in ("auto", "optimizer"):
        begin = time.perf_counter()
        run = prepared_for(data, folder, model, seed, out / head, head)
        accuracies[head] = train_and_evaluate(run, lambda *_: None).metrics["accuracy"]
        seconds[head] = time.perf_counter() - begin
    prepared = prepared_for(data, folder, model, seed, out / "auto", "auto")
    plan = choose(prepared)
    rows = Rows(prepared, plan)

    def features(split: str) -> Table:
        targets = prepared.splits[split].targets
        found = rows[split][0, np.arange(len(targets))].float()
        return (found if found.ndim == 2 else found.mean((2, 3))).numpy(), targets.numpy()

    timings = [json.loads(line) for line in prepared.directory.timings.read_text().splitlines()]
    spent = sum(line["seconds"] for line in timings), seconds["auto"]
    return Found(accuracies["auto"], scikit_learn(features), accuracies["optimizer"], *spent, plan.not_logistic)


def row(folder: str, model: str, found: list[Found]) -> str:
    """One line of the table: means over the splits."""
    ours, theirs, adam = (np.mean([getattr(one, name) for one in found]) for name in ("ours", "theirs", "adam"))
    head, command = (np.median([getattr(one, name) for one in found]) for name in ("head_seconds", "command_seconds"))
    return (
        f"| {folder} | {model} | **{ours:.3f}** | {theirs:.3f} | {100 * (ours - theirs):+.1f} | {adam:.3f}"
        f" | {head:.1f} of {command:.0f} s | {found[0].note} |"
    )


def many_images() -> str:
    """Say how long the head of a large folder takes, of features that are drawn around a centre for each class."""
    images, size, classes = MANY
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (images,), generator=generator)
    centres = torch.randn(classes, size, generator=generator) / 4
    features = (centres[targets] + torch.randn(images, size, generator=generator)).relu()
    begin = time.perf_counter()
    for _ in fit_path(features, targets, classes, PATH):
        pass
    seconds = time.perf_counter() - begin
    return f"A head of {classes} classes on {images:,} x {size:,} drawn features, {PATH} strengths: {seconds:.0f} s."


def page(data: Path, scratch: Path) -> None:
    """Print each row of accuracies as it is found, and write the table to benchmarks/results/heads.md."""
    lines = [
        f"# Heads, {datetime.date.today()}, {torch.get_num_threads()} threads",
        "",
        f"`python -m benchmarks --only heads`. Test accuracy, mean of {SEEDS} splits. scikit-learn: StandardScaler and"
        " LogisticRegression, C out of 1e-4 … 10 by validation, on the same features. AdamW: `--set head=optimizer`."
        " Seconds: of all strengths together, and of the command when no features were there; medians.",
        "",
        "| folder | network | ours | scikit-learn | points | AdamW | head | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    place = Path(__file__).parent / "results" / "heads.md"
    for number, model in enumerate(MODELS):
        for folder in FOLDERS:
            outs = [scratch / "heads" / f"{folder}-{number}-{seed}" for seed in range(SEEDS)]
            found = [measured(data, folder, model, seed, out) for seed, out in enumerate(outs)]
            lines.append(row(folder, model, found))
            print(lines[-1], flush=True)
            place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines += ["", many_images()]
    print(lines[-1], flush=True)
    place.write_text("\n".join(lines) + "\n", encoding="utf-8")
