"""An ONNX file that `export` wrote, read again and run by onnxruntime. A file from a stranger is data, and checked."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn

from ignite_vision.data.preprocessing import Canvas, Preprocessing
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.onnx_file import IMAGES, PROBABILITIES, require_onnx
from ignite_vision.models.header import check_header
from ignite_vision.models.model_file import KEY

DOMAINS = ("", "ai.onnx")
UINT8, FLOAT = 2, 1  # of onnx.TensorProto
COMPUTES = ("fp32", "fp16", "int8")
CERTAIN = 1.001  # a probability of 1 and some rounding, in float16
SMALLEST = 1e-30  # of a probability whose logarithm is taken

Ask = Callable[[np.ndarray], np.ndarray]


class OnnxClassifier(Classifier):
    """What `Classifier.load` returns for a file of `export`: it answers alike, on the CPU, and resizes by itself.

    precision: fp32, fp16 or int8. A canvas is a whole image. There are no heat maps: `network` has no place for them.
    """

    runtime = "onnx"

    def __init__(self, header: dict[str, Any], ask: Ask, path: Path):
        checked = check_header(header, path)
        self.header, self.ask, self.device, self.batch_size = header, ask, torch.device("cpu"), 1
        self.path = path
        self.precision = precision_of(header)
        self.classes, self.preprocessing = list(checked.classes), checked.preprocessing
        self.temperature, self.abstain_below = checked.temperature, checked.abstain_below
        self.canvas, self.network = Whole(self.preprocessing), Nothing()

    def probabilities(self, canvases: torch.Tensor, sizes: Sequence[int] | None = None) -> np.ndarray:  # noqa: ARG002
        """(n,3,H,W) uint8, images of one size -> (n,C) float64, calibrated."""
        try:
            found = self.ask(np.ascontiguousarray(canvases.permute(0, 2, 3, 1).numpy()))
        except Exception as error:  # onnxruntime's have no class in common
            raise _unreadable(self.path, error) from error
        if found.shape != (len(canvases), len(self.classes)) or not ((found >= 0) & (found <= CERTAIN)).all():
            what = f"the model answers no probabilities of {len(self.classes)} classes"
            raise UserError(what, self.path, "Export it again.", DAMAGED)
        return found.astype(np.float64)

    def logits(self, canvases: torch.Tensor, sizes: Sequence[int] | None = None) -> torch.Tensor:
        """(n,3,H,W) uint8 -> (n,C) float32: up to a number for each row, since the file answers probabilities."""
        sure = torch.from_numpy(self.probabilities(canvases, sizes))
        return (sure.clamp(min=SMALLEST).log() * self.temperature).float()

    def evaluate(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a run is evaluated by its own model."""
        raise UserError("an ONNX file is not evaluated", next_step="Evaluate the run that it is of.")


class Nothing(nn.Module):
    """Stands where a network would be: it has no place that a heat map could be of."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n,c,h,w) -> (n,1)."""
        return pixels.flatten(1)[:, :1] * self.weight


def load_onnx(path: Path, precision: str | None = None, device: str = "auto") -> OnnxClassifier:
    """Read a file of `export`. UserError: exit 3 for any other, and if its classes are not as many as it answers.

    precision, device: as in `Classifier.load`; exit 2 for any but the file's own, and the CPU.
    """
    header = read_header(path)
    if precision not in (None, "auto", own := precision_of(header)):
        raise UserError(f"this ONNX file computes in {own}", path, "Leave out --precision, or export another one.")
    if device not in ("auto", "cpu"):
        raise UserError("ONNX files run on the CPU here", path, "Use --device cpu, or the run itself.")
    made = OnnxClassifier(header, session(path), path)
    made.probabilities(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    return made


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of an ONNX file that `export` wrote. No node is run, and no other file is opened.

    UserError (exit 3) for one that was written by anything else, and for what is no ONNX file.
    """
    require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a file")
        model = onnx.load(os.fspath(path), load_external_data=False)
        found = {entry.key: entry.value for entry in model.metadata_props}
        header = json.loads(found.get(KEY, "null"))
    except (OSError, ValueError, RecursionError, DecodeError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(header, dict) or not _has_our_shape(model):
        hint = "Only files that `ignite-vision export` wrote are read."
        raise UserError("not an ONNX file of ignite-vision", path, hint, DAMAGED)
    check_header(header, path)
    if precision_of(header) not in COMPUTES:
        raise UserError("the model's header cannot be used: its export", path, "Export it again.", DAMAGED)
    return header


def _has_our_shape(model: Any) -> bool:
    """Whether there is one input of uint8 images, one output of float32, and nothing but ONNX's own operators."""
    graph = model.graph
    ends = [[value for value in graph.input if value.name == IMAGES], list(graph.output)]
    types = tuple(end[0].type.tensor_type.elem_type if len(end) == 1 else 0 for end in ends)
    return (
        types == (UINT8, FLOAT)
        and len(graph.input) == 1
        and graph.output[0].name == PROBABILITIES
        and _is_closed(graph)
        and not model.functions
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:120]
    return UserError(f"cannot read the model: {reason}", path, "Restore it from a copy.", DAMAGED)


def _is_closed(graph: Any) -> bool:
    """Whether a graph, and those within it, have ONNX's own operators alone and no tensor in another file."""
    held = [attribute for node in graph.node for attribute in node.attribute]
    inner = [part for attribute in held for part in ([attribute.g] if attribute.HasField("g") else attribute.graphs)]
    tensors = [*graph.initializer, *(attribute.t for attribute in held)]
    tensors += [tensor for attribute in held for tensor in attribute.tensors]
    return (
        all(node.domain in DOMAINS for node in graph.node)
        and not any(tensor.data_location for tensor in tensors)
        and not graph.sparse_initializer
        and not any(attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in held)
        and all(map(_is_closed, inner))
    )


def precision_of(header: dict[str, Any]) -> str:
    """What an exported file computes in: fp32, fp16 or int8."""
    told = header.get("export")
    return str(told.get("precision", "fp32")) if isinstance(told, dict) else "fp32"


def session(path: Path, threads: int | None = None) -> Ask:
    """Return what a file of ours answers: (n,height,width,3) uint8 -> (n,C) float32, on the CPU.

    threads: of a forward pass; None: torch's number. UserError (exit 3) for a file that onnxruntime does not take.
    """
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 4
    # threads that wait would keep their processor: on a busy machine a call took 20 times as long
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        made = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no class in common
        raise _unreadable(path, error) from error
    return functools.partial(_run, made)


def batch_of(image: torch.Tensor) -> np.ndarray:
    """(1,H,W) or (3,H,W) uint8 -> (1,H,W,3) uint8: what a file of ours takes."""
    return np.ascontiguousarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy())[None]


def _run(made: Any, images: np.ndarray) -> np.ndarray:
    answer: np.ndarray = made.run([PROBABILITIES], {IMAGES: images})[0]
    return answer


class Whole(Canvas):
    """The canvas of a network that resizes by itself: the image as it is, in colours."""

    def __init__(self, preprocessing: Preprocessing):
        grey = Preprocessing(
            channels=3, resize=preprocessing.resize, crop=preprocessing.crop, mean=(0,) * 3, std=(1,) * 3
        )
        super().__init__(grey, preprocessing.crop)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(C,H,W) or (N,C,H,W) uint8 -> (...,3,H,W) uint8."""
        return image.expand(*image.shape[:-3], 3, -1, -1)
