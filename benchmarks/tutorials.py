"""The tutorials' way of doing it, repaired just enough to run: what ours is compared with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


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
    for images, targets in loader:
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def evaluate(model: nn.Module, loader: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Return the accuracy."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, targets in loader:
            right += int((model(images).argmax(1) == targets).sum())
            total += len(targets)
    return right / total


def loader(dataset: Dataset[tuple[torch.Tensor, int]], batch: int) -> DataLoader[tuple[torch.Tensor, int]]:
    """Return their loader: shuffled, in the main process."""
    return DataLoader(dataset, batch_size=batch, shuffle=True)
