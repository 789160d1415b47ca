"""Evidence for reports, made by hand: images, predictions and a history without any training."""

import dataclasses

import numpy as np
import torch

from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.data.splits import Splits
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.report.page import Evidence
from ignite_vision.training.history import EpochRow

RGB = Preprocessing(channels=3, resize=32, crop=28, mean=(0.5,) * 3, std=(0.5,) * 3)


def row(epoch, val_accuracy=0.8, best=False, **more):
    """An epoch whose losses fall."""
    values = {"train_loss": 1 / epoch, "train_accuracy": 0.8, "val_loss": 1 / epoch, "lr": 0.1, "stopped": False}
    return EpochRow(epoch=epoch, iteration=epoch * 10, val_accuracy=val_accuracy, best=best, **{**values, **more})


def predicted(n=60, classes=("ant", "bee", "cow"), right=0.8, seed=0):
    """Predictions of which some are wrong, as features that lie in clusters give them."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % len(classes)
    logits = torch.randn(n, len(classes), generator=generator)
    logits[range(n), targets] += 3 * (torch.rand(n, generator=generator) < right)
    return Predictions(tuple(f"{i}.jpg" for i in range(n)), targets, logits, tuple(classes), temperature=0.8)


def pictures(n=60, side=(40, 50), seed=0):
    """Noise, as photographs that are not square."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (n, 3, *side), generator=generator, dtype=torch.uint8)


def evidence(classes=("ant", "bee", "cow"), n=60, **more):
    """Evidence of a made-up run; more: fields that are other ones."""
    predictions = predicted(n, classes)
    images = ArrayImages(pictures(n), predictions.targets, "test")
    splits = Splits(train=images, val=images, test=images, classes=tuple(classes))
    values = Evidence(
        title="made up",
        subtitle="a network",
        numbers=metrics(predictions, "test"),
        predictions=predictions,
        splits=splits,
        preprocessing=RGB,
        history=[row(1), row(2, 0.9, best=True), row(3, 0.85)],
        features=predictions.logits,
        heat=lambda places, _classes: [torch.from_numpy(np.eye(7, dtype=np.float32)) for _ in places],
        of_tokens=False,
        suspects=[],
        judged="All images were judged.",
        check=None,
        pairs=None,
        facts=[("Images", "60 test")],
        command="ignite-vision run made_up",
        environment=[("Run", "runs/made-up")],
        recipe="recipe = Recipe()\n",
        seed=0,
    )
    return dataclasses.replace(values, **more)
