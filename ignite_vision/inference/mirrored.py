"""Answers to an image and its mirror image together: test-time augmentation by a flip."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from ignite_vision.inference.classifier import Classifier


class Mirrored(nn.Module):
    """A network that looks at each image and at its mirror image. The mean of both's probabilities is its answer."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) -> (N, classes) float32, the logarithms of the mean: softmax of them is the mean itself.

        Two passes of the same shape, so the first has the bits of a plain evaluation.
        """
        both = torch.stack([self.network(images), self.network(images.flip(3))])
        return both.float().log_softmax(2).logsumexp(0) - math.log(2)


def mirrored(classifier: Classifier) -> Classifier:
    """Return a classifier that also looks at mirror images, not calibrated: the temperature is of plain answers."""
    found = copy.copy(classifier)
    found.network, found.temperature, found.abstain_below = Mirrored(classifier.network).eval(), 1.0, None
    return found
