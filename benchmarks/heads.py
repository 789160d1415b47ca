"""The head of the default command against scikit-learn's logistic regression on the same features and splits.

    python -m benchmarks.heads [--models mobilenet_v2,timm:tf_efficientnet_lite2] [--seeds 3]

Real images and weights are read from IGNITE_VISION_TEST_DATA; weights are the file there that is named after the model.
Features are kept where the command keeps them, so measuring again costs no pass over a network.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import tempfile
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
from ignite_vision.system.process import tune_processor

FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {  # where they lie, and what the recipe has of its own
    "caltech101_25": ("caltech101_25", {}),
    "caltech256, ten categories": ("caltech256/256_ObjectCategories", {}),
    "stanford_dogs, ten breeds": ("stanford_dogs", {"data": datasets.stanford_dogs, "val_fraction": 0.1}),
}
STRENGTHS = 10.0 ** np.arange(-4, 1.5, 0.5)  # scikit-learn's C
Table = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Found:
    """Test accuracies of one split, and seconds."""

    ours: float
    theirs: float
    adam: float
    head_seconds: float
    note: str


def prepared_for(data: Path, folder: str, model: str, seed: int, out: Path, head: str) -> Prepared:
    """What the default command prepares: `run FOLDER --set model=... --set split_seed=...`."""
    place, changes = FOLDERS[folder]
    loaded = load("folder")
    loaded = dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, **changes))
    weights = next(path for path in sorted((data / "weights").iterdir()) if path.name.split(".")[0] in model)
    overrides = {"model": model, "weights": str(weights), "split_seed": str(seed), "seed": str(seed), "head": head}
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
    accuracies = {}
    for head in ("auto", "optimizer"):
        run = prepared_for(data, folder, model, seed, out / head, head)
        accuracies[head] = train_and_evaluate(run, lambda *_: None).metrics["accuracy"]
    prepared = prepared_for(data, folder, model, seed, out / "auto", "auto")
    plan = choose(prepared)
    rows = Rows(prepared, plan)

    def features(split: str) -> Table:
        targets = prepared.splits[split].targets
        found = rows[split][0, np.arange(len(targets))].float()
        return (found if found.ndim == 2 else found.mean((2, 3))).numpy(), targets.numpy()

    timings = [json.loads(line) for line in prepared.directory.timings.read_text().splitlines()]
    seconds = sum(line["seconds"] for line in timings)
    return Found(accuracies["auto"], scikit_learn(features), accuracies["optimizer"], seconds, plan.not_logistic)


def row(folder: str, model: str, found: list[Found]) -> str:
    """One line of the table: means over the splits."""
    ours, theirs, adam, seconds = (
        np.mean([getattr(one, name) for one in found]) for name in ("ours", "theirs", "adam", "head_seconds")
    )
    return (
        f"| {folder} | {model} | **{ours:.3f}** | {theirs:.3f} | {100 * (ours - theirs):+.1f} | {adam:.3f}"
        f" | {seconds:.1f} s | {found[0].note} |"
    )


def main() -> None:
    """Print each row as it is found, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mobilenet_v2,squeezenet1_0", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="splits; default: %(default)s")
    arguments = parser.parse_args()
    data = Path(os.environ["IGNITE_VISION_TEST_DATA"])
    tune_processor()
    lines = [
        f"# Heads, {datetime.date.today()}, {torch.get_num_threads()} threads",
        "",
        f"`python -m benchmarks.heads --models {arguments.models} --seeds {arguments.seeds}`. Test accuracy, mean of"
        f" {arguments.seeds} splits. scikit-learn: StandardScaler and LogisticRegression, C out of 1e-4 … 10 by"
        " validation, on the same features.",
        "",
        "| folder | network | ours | scikit-learn | points | AdamW | head | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for folder in FOLDERS:
            for model in arguments.models.split(","):
                begin = time.perf_counter()
                places = [Path(scratch) / f"{folder}-{model}-{seed}" for seed in range(arguments.seeds)]
                found = [measured(data, folder, model, seed, place) for seed, place in enumerate(places)]
                lines.append(row(folder, model, found))
                print(lines[-1], f"({time.perf_counter() - begin:.0f} s)", flush=True)
    page = Path(__file__).parent / "results" / "heads.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
