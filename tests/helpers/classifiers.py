"""Model files and classifiers of small networks, made without training."""

from pathlib import Path
from typing import Any

import torch

from ignite_vision import models
from ignite_vision.models.model_file import write_model as write

CLASSES = ("ant", "bee", "cow")


def header_of(
    channels: int = 3, side: int = 32, classes: tuple[str, ...] = CLASSES, precision: str = "fp32", **more: Any
) -> dict[str, Any]:
    """The header of a network's file."""
    preprocessing = {
        "channels": channels,
        "resize": side,
        "crop": side,
        "interpolation": "bilinear",
        "mean": [0.5] * channels,
        "std": [0.25] * channels,
    }
    return {
        "format_version": 1,
        "task": "single-label",
        "architecture": "ignite_vision:cifar10_cnn",
        "num_classes": len(classes),
        "classes": list(classes),
        "preprocessing": preprocessing,
        "precision": precision,
        "temperature": 1.0,
        "abstain_below": None,
        "batch_size": 16,
        "metrics": {"accuracy": 0.9},
        **more,
    }


def write_model(folder: Path, classes: tuple[str, ...] = CLASSES, seed: int = 0, **more: Any) -> Path:
    """A model file of cifar10_cnn with random weights; more: fields of its header."""
    torch.manual_seed(seed)
    path = folder / "model.safetensors"
    write(path, models.build("cifar10_cnn", len(classes)).state_dict(), header_of(classes=classes, **more))
    return path
