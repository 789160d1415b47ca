"""A trained model, from its file alone: classes, preprocessing and precision are in the header."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_vision.data.containers import Container
from ignite_vision.data.preprocessing import Canvas, Preprocessing, normalize
from ignite_vision.errors import UserError
from ignite_vision.evaluation.predictions import Predictions, predict
from ignite_vision.loading.loaders import eval_loader
from ignite_vision.loading.sources import Decoded
from ignite_vision.models.model_file import check_header, load_model, load_weights, read_header
from ignite_vision.prepare import reading_for
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system.device import autocast, pick_device, pick_precision
from ignite_vision.training.engines import make_evaluator

DEFAULT_BATCH = 16  # for a file that does not say in which batches it was evaluated


class Classifier:
    """A network with its classes and preprocessing, in eval mode. The same bits as the run's own predictions.csv.

    On the same machine, that is, at the same precision: `precision` is the run's own unless the device cannot do it.
    """

    def __init__(self, model: nn.Module, header: dict[str, Any], precision: str, device: torch.device):
        self.header, self.precision, self.device = header, precision, device
        self.model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes = tuple(header["classes"])
        self.preprocessing = Preprocessing.from_dict(header["preprocessing"])
        self.canvas = Canvas(self.preprocessing, self.preprocessing.crop)
        self.batch_size = int(header.get("batch_size", DEFAULT_BATCH))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto", model: nn.Module | None = None) -> Classifier:
        """Return the classifier of a run directory or of a bare model.safetensors. Runs no code from them.

        model: the network of a recipe's own model function, which the file cannot name; its weights come from the
        file. UserError for a file that is damaged (exit 3), that does not fit, or whose network is code in a recipe
        (exit 2).
        """
        place = Path(path)
        directory = RunDirectory(place)
        if directory.exists():
            place = directory.model
            if not place.is_file():
                hint = f"Train it first: ignite-vision resume {directory}"
                raise UserError("this run has no model yet", directory, hint)
        header = read_header(place)
        check_header(header, place)
        where = pick_device(device)
        if model is None:
            model = load_model(place, header)
        else:
            load_weights(model, place)
        return cls(model, header, _precision_on(where, header["precision"]), where)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) uint8, grey or RGB, as a reader of images gives them -> logits (N, classes) float32, on the CPU.

        Any N and any size, all alike; images of other sizes in another call: each row has the same bits in any company.
        ValueError for anything else.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"images must be uint8 (N,C,H,W) of 1 or 3 channels, not {images.dtype} {tuple(images.shape)}"
            )
        parts = images.split(self.batch_size) if len(images) else ()
        return torch.cat([torch.empty(0, len(self.classes)), *map(self._logits, parts)])

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        """Up to one batch, padded to the fixed shape: a row's bits depend on the batch's size."""
        canvases = self.canvas(images)
        padding = canvases[-1:].expand(self.batch_size - len(canvases), -1, -1, -1)
        with autocast(self.device, self.precision):
            logits = self.model(normalize(torch.cat([canvases, padding]).to(self.device), self.preprocessing))
        return logits[: len(images)].float().cpu()

    def predict(self, images: Container, workers: int | None = None, say: Callable[[str], None] = print) -> Predictions:
        """Predict a container of images with targets; several processes share the work, and each has the whole result.

        workers: processes that read; None: as many as help. say: called with a line of warning.
        """
        reading = reading_for(self.device, workers, images.thread_safe, say)
        rows = Decoded(images, self.canvas, seed=0)
        loader = eval_loader(rows, images.targets, self.batch_size, self.canvas, reading)
        evaluator = make_evaluator(self.model, self.preprocessing, self.precision, self.device)
        return predict(evaluator, loader, images, self.classes)


def _precision_on(device: torch.device, trained: str) -> str:
    """The run's own precision; fp16 is of CUDA alone."""
    return pick_precision("auto" if trained == "fp16" and device.type != "cuda" else trained, device)
