"""Small pictures trained in two ways, each in a process of its own: how one is set up does not reach the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from benchmarks import ours, peers, tutorials
from benchmarks.clock import seconds
from ignite_vision.system.process import tune_processor

ITERATIONS = 200

Works = dict[str, Callable[[], Any]]


class Side:
    """A process that does what it is asked for by name. make(*arguments) -> what it can do, made there."""

    def __init__(self, make: Callable[..., Works], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self.process.start()

    def __call__(self, name: str) -> Any:
        """Have it done, and return what came of it."""
        self.pipe.send(name)
        return self.pipe.recv()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Any, make: Callable[..., Works], arguments: tuple[Any, ...]) -> None:
    works = make(*arguments)
    while True:
        pipe.send(works[pipe.recv()]())


def as_the_command(recipe: str, folder: Path, out: Path, device: torch.device, denormals: bool = False) -> Works:
    """Our way, and the bare step, in a process that is set up as the command's is. denormals: but for these."""
    tune_processor()
    torch.set_flush_denormal(not denormals)
    built = ours.built(recipe, out / "part", device.type, folder)
    run = built.run

    def accuracy() -> float:
        whole = ours.built(recipe, out / "whole", device.type, folder).run
        whole.trainer.run(whole.loaders.train, max_epochs=1)
        return ours.accuracy(whole)

    return {
        "train": partial(seconds, ours.some_iterations(run, ITERATIONS), device),
        "epoch": partial(seconds, ours.some_iterations(run, len(run.loaders.train)), device),
        "bare": partial(seconds, ours.bare_step(run, ITERATIONS), device),
        "images": lambda: ITERATIONS * built.batch,
        "precision": lambda: run.precision,
        "note": lambda: f"{run.precision}, {built.waiting()}",
        "accuracy": accuracy,
    }


def as_the_tutorial(recipe: str, folder: Path, out: Path, device: torch.device) -> Works:
    """The tutorial's loop from the same first weights."""
    built = ours.built(recipe, out / "theirs", device.type, folder)
    run, batch = built.run, built.batch
    model = tutorials.copy_of(run.model)
    loader = tutorials.loader(ours.pictures(run, "train", ITERATIONS * batch), batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=run.recipe.lr)

    def accuracy() -> float:
        whole = tutorials.copy_of(run.model)
        torch.manual_seed(run.recipe.seed)  # shuffles their loader
        adam = torch.optim.Adam(whole.parameters(), lr=run.recipe.lr)
        tutorials.train_epoch(whole, tutorials.loader(ours.pictures(run, "train"), batch), adam)
        return tutorials.evaluate(whole, tutorials.loader(ours.pictures(run, "test"), batch))

    return {
        "train": partial(seconds, partial(tutorials.train_epoch, model, loader, optimizer), device),
        "accuracy": accuracy,
    }


def as_lightning(recipe: str, folder: Path, out: Path, device: torch.device) -> Works:
    """Lightning's Trainer over the tutorial's data set, and over float32 images in memory."""
    built = ours.built(recipe, out / "lightning", device.type, folder)
    run = built.run
    pictures = ours.pictures(run, "train", ITERATIONS * built.batch)
    in_memory = TensorDataset(
        torch.stack([pictures[i][0] for i in range(len(pictures))]), torch.tensor(pictures.targets)
    )
    loaders = {"tutorial": pictures, "tensors": in_memory}
    return {
        name: peers.lightning_epoch(
            run.model, tutorials.loader(dataset, built.batch), run.recipe.lr, run.precision, device
        )
        for name, dataset in loaders.items()
    }
