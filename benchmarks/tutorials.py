"""The tutorials' way of doing it, repaired just enough to run: what ours is compared with."""

from __future__ import annotations

import copy
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets, transforms

from ignite_vision import models


class AsPictures(Dataset[tuple[torch.Tensor, int]]):
    """A uint8 array, decoded the way of torchvision's data sets: PIL image, ToTensor, Normalize."""

    def __init__(self, images: torch.Tensor, targets: torch.Tensor):
        grey = images.shape[1] == 1
        self.arrays = images[:, 0].numpy() if grey else images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = targets.tolist()
        half = (0.5,) * images.shape[1]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[i])), self.targets[i]


PHOTOGRAPH = transforms.Compose([transforms.Resize(255), transforms.CenterCrop(224), transforms.ToTensor()])


def train_epoch(
    model: nn.Module, loader: Iterable[tuple[torch.Tensor, torch.Tensor]], optimizer: torch.optim.Optimizer
) -> None:
    """Take the tutorials' inner loop, with its loss.item() in every iteration."""
    model.train()
    device = next(model.parameters()).device
    for images, targets in on(device, loader):
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def on(
    device: torch.device, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Move each batch to the device."""
    for images, targets in loader:
        yield images.to(device), targets.to(device)


def evaluate(model: nn.Module, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Return the accuracy."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, targets in on(next(model.parameters()).device, loader):
            right += int((model(images).argmax(1) == targets).sum())
            total += len(targets)
    return right / total


def copy_of(model: nn.Module) -> nn.Module:
    """Return one of our small networks, with its weights, as a tutorial has it: float32, NCHW, ReLU, then pooling."""
    layers = list(copy.deepcopy(model).float().to(memory_format=torch.contiguous_format).children())
    for i in range(len(layers) - 1):
        if isinstance(layers[i], nn.MaxPool2d) and isinstance(layers[i + 1], nn.ReLU):
            layers[i : i + 2] = layers[i + 1], layers[i]
    return nn.Sequential(*layers)


def frozen(
    name: str, classes: int, weights: str | None, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network of torchvision with a new head, which alone has gradients, and the head's optimizer.

    As in the tutorials the rest stays in training mode while it trains, so its BatchNorm statistics drift.
    """
    network = models.build(name, classes, weights).to(device)
    for parameter in network.parameters():
        parameter.requires_grad = False
    head = list(network.children())[-1]
    for parameter in head.parameters():
        parameter.requires_grad = True
    return network, torch.optim.Adam(head.parameters(), lr=1e-3)


def parts(folder: Path, run: Path) -> dict[str, Subset[tuple[torch.Tensor, int]]]:
    """Return torchvision's ImageFolder of a folder, cut as a run of ours has cut it: split -> its images."""
    dataset = datasets.ImageFolder(str(folder), transform=PHOTOGRAPH)
    place = {Path(path).relative_to(folder).as_posix(): i for i, (path, _) in enumerate(dataset.samples)}
    found: dict[str, list[int]] = {}
    with (run / "splits.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["split"], []).append(place[row["path"]])
    return {split: Subset(dataset, indices) for split, indices in found.items()}


def loader(dataset: Dataset[Any], batch: int) -> DataLoader[Any]:
    """Return their loader: shuffled, in the main process."""
    return DataLoader(dataset, batch_size=batch, shuffle=True)
