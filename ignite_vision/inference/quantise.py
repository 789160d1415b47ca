"""The network of an ONNX file in 8-bit integers: calibrated on training images, chosen and calibrated on validation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import nll_loss

from ignite_vision.data.containers import Container
from ignite_vision.data.preprocessing import Canvas
from ignite_vision.errors import UserError
from ignite_vision.evaluation.calibration import abstain_below, fit_temperature
from ignite_vision.inference.onnx_file import IMAGES, PROBABILITIES, quiet
from ignite_vision.inference.onnx_model import SMALLEST, Ask, batch_of, session
from ignite_vision.inference.source import Source

CALIBRATED = 100  # training images; more changed nothing that could be seen
CHOSEN = 256  # validation images
# How the ranges of activations are found, and on how many images: for percentiles all activations are kept in memory.
METHODS = {"MinMax": CALIBRATED, "Percentile": CALIBRATED // 4}
OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool", "MaxPool", "Concat", "Clip"]
OPERATORS += ["Relu", "ReduceMean", "Reshape"]


@dataclasses.dataclass(frozen=True)
class Quantised:
    """A file in int8, with the temperature of fp32. temperature: its own; loss: its log loss on validation then.

    abstain_below: as in a model's header, of its own probabilities on validation.
    """

    path: Path
    method: str
    temperature: float
    abstain_below: float | None
    loss: float


def quantise(source: Source, whole: Path, around: list[str], out: Path) -> Quantised:
    """Write the best of METHODS on validation images to `out`.

    whole: the same in fp32. around: names of its nodes that are not the network's, which stay as they are. UserError
    where the run's images cannot be had.
    """
    train, val = images_for(source)
    tried = [_tried(source, whole, around, out, method, train, val) for method in METHODS]
    best = min(tried, key=lambda candidate: candidate.loss)
    best.path.replace(out)
    for candidate in tried:
        candidate.path.unlink(missing_ok=True)
    return dataclasses.replace(best, path=out)


def images_for(source: Source) -> tuple[Container, Container]:
    """(training images, validation images). UserError where the run's images cannot be had."""
    train, val = source.images("train", CALIBRATED), source.images("val", CHOSEN)
    if train is None or val is None:
        hint = "Pass the run directory, and --data DIR where its images are now."
        raise UserError(f"int8 is calibrated on the run's images: {source.why_not}", source.file, hint)
    return train, val


def _tried(
    source: Source, whole: Path, around: list[str], out: Path, method: str, train: Container, val: Container
) -> Quantised:
    """Quantise by one method, and judge it on validation images."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    classifier, path = source.classifier, out.with_name(f"{out.name}.{method}")
    squares = Canvas(classifier.preprocessing, classifier.preprocessing.box)  # which the graph leaves as they are
    with quiet():
        quantize_static(
            str(whole),
            str(path),
            _Reader(pixels(train, METHODS[method], squares)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            reduce_range=True,  # 7 bits: with 8 the sums overflow on processors without VNNI
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=around,
            calibrate_method=CalibrationMethod[method],
        )
    scores = logits(session(path), val, classifier.temperature)
    temperature = fit_temperature(scores, val.targets)
    sure = (scores / temperature).log_softmax(1)
    loss = nll_loss(sure, val.targets).item()
    threshold = abstain_below(sure.exp(), val.targets)
    return Quantised(path, method, temperature, threshold, loss if math.isfinite(loss) else math.inf)


def pixels(images: Container, most: int, squares: Canvas) -> Iterator[np.ndarray]:
    """(1,S,S,3) uint8 of up to so many images."""
    for i in range(min(most, len(images))):
        yield batch_of(squares(images[i][0]))


def logits(ask: Ask, images: Container, temperature: float) -> torch.Tensor:
    """(N,C) float64: logits up to a number for each image, from probabilities at this temperature."""
    rows = [ask(batch_of(images[i][0])) for i in range(len(images))]
    return torch.from_numpy(np.concatenate(rows)).double().clamp(min=SMALLEST).log() * temperature


def divide_logits(model: Any, number: float) -> None:
    """Divide the logits of an ONNX model of ours once more, before the softmax that ends it."""
    import onnx

    (softmax,) = [node for node in model.graph.node if PROBABILITIES in node.output]
    tensor = onnx.numpy_helper.from_array(np.array(number, dtype=np.float32), "temperature_of_int8")
    node = onnx.helper.make_node("Div", [softmax.input[0], tensor.name], ["calibrated_logits"], name="calibrate")
    softmax.input[0] = node.output[0]
    model.graph.initializer.append(tensor)
    model.graph.node.insert(len(model.graph.node) - 1, node)


class _Reader:
    """What onnxruntime's calibration reads from."""

    def __init__(self, images: Iterable[np.ndarray]):
        self.images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next image as the graph's input; None after the last."""
        image = next(self.images, None)
        return None if image is None else {IMAGES: image}
