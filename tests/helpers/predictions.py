"""Predictions made by hand."""

import torch

from ignite_vision.evaluation.predictions import Predictions


def predictions(targets, labels, classes=("ant", "bee", "cow")):
    """Return sure predictions of these labels."""
    logits = torch.nn.functional.one_hot(torch.tensor(labels), len(classes)).float() * 9
    return Predictions(tuple(f"{i}.jpg" for i in range(len(targets))), torch.tensor(targets), logits, tuple(classes))
