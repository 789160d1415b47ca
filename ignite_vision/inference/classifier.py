"""A trained model, from its file alone: classes, preprocessing, precision and temperature are in the header."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision.data.containers import Container
from ignite_vision.data.preprocessing import Canvas, normalize, plain
from ignite_vision.errors import UserError
from ignite_vision.evaluation.predictions import Predictions, calibrated, predict
from ignite_vision.inference.answers import Answer, ImageLike, answers, refuse_single
from ignite_vision.loading.batches import MIN_EVAL_BATCH
from ignite_vision.loading.loaders import eval_loader
from ignite_vision.loading.sources import Decoded
from ignite_vision.models.header import PRECISIONS, check_header
from ignite_vision.models.model_file import load_model, load_weights, read_header
from ignite_vision.prepare import reading_for
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system.device import autocast, pick_device, pick_precision
from ignite_vision.system.process import processors
from ignite_vision.training.engines import make_evaluator

DEFAULT_BATCH = 16  # for a file that does not say in which batches it was evaluated


class Classifier:
    """A network with its classes and preprocessing, in eval mode. The same bits as the run's own predictions.csv.

    On the same machine, that is, and at the run's own precision, which is the default unless the device cannot do it.

    header: what the file says, unchecked beyond what follows. classes: their names. preprocessing: what `canvas` does.
    network: on `device`. temperature: divides the logits. abstain_below: the confidence below which an answer is not
    to be trusted, or None. batch_size: images of a forward pass.
    """

    runtime = "torch"

    def __init__(self, network: nn.Module, header: dict[str, Any], precision: str, device: torch.device):
        checked = check_header(header, Path())
        self.header, self.precision, self.device = header, precision, device
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes, self.preprocessing = list(checked.classes), checked.preprocessing
        self.temperature, self.abstain_below = checked.temperature, checked.abstain_below
        self.canvas = Canvas(self.preprocessing, plain(self.preprocessing.size))
        self.batch_size = checked.batch_size or DEFAULT_BATCH

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        device: str = "auto",
        network: nn.Module | None = None,
    ) -> Classifier:
        """Return the classifier of a run directory, a bare model.safetensors or an ONNX file of `export`.

        Runs no code from them. An ONNX file computes in its own precision, on the CPU.

        precision: fp32, bf16, fp16 or auto; None: that of the run. network: that of a recipe's own model function,
        which the file cannot name; its weights come from the file. UserError for a file that is damaged (exit 3), that
        does not fit, or whose network is code in a recipe (exit 2).
        """
        place = model_file(Path(path))
        if place.suffix.lower() == ".onnx":
            from ignite_vision.inference.onnx_model import load_onnx

            return load_onnx(place, precision, device)
        header = read_header(place)
        checked = check_header(header, place)
        where = pick_device(device)
        chosen = precision_on(where, checked.precision if precision is None else named(precision), precision is None)
        if network is None:
            network = load_model(place, header)
        else:
            load_weights(network, place)
        return cls(network, header, chosen, where)

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
        return torch.cat([torch.empty(0, len(self.classes)), *(self.logits(self.canvas(part)) for part in parts)])

    @torch.inference_mode()
    def logits(self, canvases: torch.Tensor, sizes: Sequence[int] | None = None) -> torch.Tensor:
        """(n,c,S,S) uint8, from `canvas` -> (n, classes) float32, on the CPU. Any n.

        A forward pass is padded to `batch_size`, since the bits of a row depend on the batch's size. sizes: others, in
        ascending order, of which the smallest that is enough is taken: faster for few images, other last bits.
        """
        sizes = sizes or (self.batch_size,)
        parts = canvases.split(sizes[-1]) if len(canvases) else ()
        return torch.cat([torch.empty(0, len(self.classes)), *(self._forward(part, sizes) for part in parts)])

    def _forward(self, canvases: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        n = len(canvases)
        size = next(size for size in sizes if size >= n)
        padded = torch.cat([canvases, canvases[-1:].expand(size - n, -1, -1, -1)])
        with autocast(self.device, self.precision):
            logits = self.network(normalize(padded.to(self.device), self.preprocessing))
        return logits[:n].float().cpu()

    def probabilities(self, canvases: torch.Tensor, sizes: Sequence[int] | None = None) -> np.ndarray:
        """(n,c,S,S) uint8, from `canvas` -> (n, classes) float64, calibrated. sizes: as for `logits`."""
        return calibrated(self.logits(canvases, sizes), self.temperature).numpy()

    def predict(self, images: Iterable[ImageLike], threads: int | None = None) -> Iterator[Answer]:
        """Answer for each image, in order, while they come.

        images: paths, Pillow images, uint8 arrays (H,W,3) or (H,W), uint8 tensors (3,H,W) or (1,H,W), mixed at will.
        They are taken two batches ahead at most, or one for each thread, and answers come batch by batch. threads: that
        decode files; None: one for each processor. An image that cannot be read is an answer with an error, and the
        next ones follow; TypeError or ValueError for what is no image.
        """
        refuse_single(images)
        answer = functools.partial(self.probabilities, sizes=sizes_on(self.device, self.batch_size))
        return answers(images, self.canvas, answer, self.batch_size, threads or processors())

    def evaluate(
        self, images: Container, workers: int | None = None, say: Callable[[str], None] = print
    ) -> Predictions:
        """Predict a container of images with targets; several processes share the work, and each has the whole result.

        workers: processes that read images; None: chosen for the machine. say: called with each warning.
        """
        reading = reading_for(self.device, workers, images.thread_safe, say)
        rows = Decoded(images, self.canvas, seed=0)
        loader = eval_loader(rows, images.targets, self.batch_size, self.canvas, reading)
        evaluator = make_evaluator(self.network, self.preprocessing, self.precision, self.device)
        return predict(evaluator, loader, images, tuple(self.classes), self.temperature)


def model_file(path: Path) -> Path:
    """Return the model file in a folder, or the path itself. UserError (exit 2) where there is none."""
    directory = RunDirectory(path)
    if directory.model.is_file():
        return directory.model
    if directory.exists():
        raise UserError("this run has no model yet", directory, f"Train it first: ignite-vision resume {directory}")
    if not path.exists() or path.is_dir():
        what = "no model.safetensors in this folder" if path.exists() else "no such file"
        raise UserError(what, path, "Pass a run directory or a model.safetensors.")
    return path


def sizes_on(device: torch.device, batch: int) -> tuple[int, ...]:
    """Return the sizes of forward passes that give the same bits: on a CPU all from 16 on, seen of a dozen networks."""
    few = min(MIN_EVAL_BATCH, batch)
    return (few, batch) if few < batch and device.type == "cpu" else (batch,)


def named(precision: str) -> str:
    """Return the name of a precision. UserError for another."""
    if precision not in ("auto", *PRECISIONS):
        raise UserError(f"no precision '{precision}'", next_step=f"Choose auto, {', '.join(PRECISIONS)}.")
    return precision


def precision_on(device: torch.device, wanted: str, may_differ: bool) -> str:
    """Return the precision on a device: fp16 is of CUDA alone. may_differ: whether another will do then."""
    return pick_precision("auto" if may_differ and wanted == "fp16" and device.type != "cuda" else wanted, device)
