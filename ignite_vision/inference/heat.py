"""Heat maps of a classifier: in its own precision, scaled for the eye."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ignite_vision.data.preprocessing import normalize
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.gradcam import gradcam, is_of_tokens, last_map
from ignite_vision.system.device import autocast


def heat_layer(classifier: Classifier) -> str | None:
    """Name of the layer that heat maps are taken at; None for a network that has no map."""
    preprocessing = classifier.preprocessing
    return last_map(classifier.network, preprocessing.size, preprocessing.channels)


def of_tokens(classifier: Classifier, layer: str) -> bool:
    """Whether this layer's maps are of tokens: a hint, where those of a convolutional network are exact."""
    preprocessing = classifier.preprocessing
    return is_of_tokens(classifier.network, preprocessing.size, preprocessing.channels, layer)


def heat_maps(
    classifier: Classifier, canvases: torch.Tensor, classes: Sequence[int], layer: str
) -> list[torch.Tensor | None]:
    """(h,w) float32 in [0,1] for each image, its largest value 1; None where no place speaks for the class.

    canvases: (n,c,S,S) uint8, from `classifier.canvas`; the map lies over the whole canvas. classes: one of each image,
    by number. layer: from `heat_layer`.
    """
    x = normalize(canvases.to(classifier.device), classifier.preprocessing)
    with autocast(classifier.device, classifier.precision):
        maps = gradcam(classifier.network, x, classes, layer)
    if maps is None:
        return [None] * len(canvases)
    return [heat / heat.max() if 0 < heat.max() < torch.inf else None for heat in maps.cpu()]
