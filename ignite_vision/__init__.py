"""ignite-vision: image classification recipes run by PyTorch-Ignite.

`Recipe` and `Splits` are what a recipe file needs. They are imported when first used, so that the command line
answers without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ignite_vision._version import __version__

if TYPE_CHECKING:
    from ignite_vision.data.splits import Splits
    from ignite_vision.recipe import Recipe

__all__ = ["Recipe", "Splits", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Recipe":
        from ignite_vision.recipe import Recipe

        return Recipe
    if name == "Splits":
        from ignite_vision.data.splits import Splits

        return Splits
    raise AttributeError(f"module 'ignite_vision' has no attribute '{name}'")
