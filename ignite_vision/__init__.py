"""ignite-vision: image classification recipes run by PyTorch-Ignite.

What is exported here, `ignite_vision.datasets`, `ignite_vision.augment`, `ignite_vision.models` and
`ignite_vision.testing` are for others to use, and keep their names. Every other module is private. Names are imported
when first used, so that the command line answers without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ignite_vision._version import __version__

if TYPE_CHECKING:
    from ignite_vision.data.containers import ArrayImages, Container, ImageFiles
    from ignite_vision.data.preprocessing import Preprocessing
    from ignite_vision.data.splits import Splits
    from ignite_vision.errors import UserError
    from ignite_vision.inference.classifier import Classifier
    from ignite_vision.recipe import Recipe
    from ignite_vision.training.run import Run

__all__ = [
    "ArrayImages",
    "Classifier",
    "Container",
    "ImageFiles",
    "Preprocessing",
    "Recipe",
    "Run",
    "Splits",
    "UserError",
    "__version__",
]

_WHERE = {
    "ArrayImages": "data.containers",
    "Classifier": "inference.classifier",
    "Container": "data.containers",
    "ImageFiles": "data.containers",
    "Preprocessing": "data.preprocessing",
    "Recipe": "recipe",
    "Run": "training.run",
    "Splits": "data.splits",
    "UserError": "errors",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'ignite_vision' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
