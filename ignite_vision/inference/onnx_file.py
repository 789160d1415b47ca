"""A classifier as an ONNX file: one, with its classes and the licence of its weights in it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite_vision.errors import UserError
from ignite_vision.inference.portable import Portable, exported
from ignite_vision.models.model_file import KEY

OPSET = 20  # torch's own choice; onnxruntime reads it since 1.17
IMAGES, PROBABILITIES = "images", "probabilities"
NETWORK = "network"  # the part of `Portable` that int8 may change
SCOPES = "pkg.torch.onnx.name_scopes"  # where a node's metadata say which modules it is of
LARGEST = (1 << 31) - 1  # bytes: protobuf ends there


def write_onnx(module: Portable, path: Path, header: Mapping[str, Any]) -> list[str]:
    """Write the network, and return the names of the nodes around it: those of images and probabilities.

    header: as a model file's, JSON-plain. UserError for a network that cannot be exported or is above 2 GB.
    """
    require_onnx()
    import torch.onnx

    try:
        with quiet():
            program = torch.onnx.export(
                exported(module),
                dynamo=True,
                input_names=[IMAGES],
                output_names=[PROBABILITIES],
                opset_version=OPSET,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # the exporter's, or whatever the network's own code raises under it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        hint = "Only networks without control flow that depends on the pixels can be exported."
        raise UserError(f"the network cannot be exported: {reason}", next_step=hint) from error
    around = [node.name for node in model.graph.node if not _is_inside(node)]
    _clean(model)
    write_proto(model, path, header)
    return around


def write_proto(model: Any, path: Path, header: Mapping[str, Any]) -> None:
    """Write an ONNX model with a header. UserError above 2 GB, OSError when the disk does not take it."""
    import onnx

    del model.metadata_props[:]
    licence = (header.get("weights") or {}).get("license") or "unknown"
    values = {KEY: json.dumps(header, sort_keys=True), "license": str(licence)}
    onnx.helper.set_model_props(model, values)
    model.producer_name, model.producer_version, model.doc_string = "ignite-vision", "", ""
    if model.ByteSize() > LARGEST:
        raise UserError("the network is above 2 GB, which one ONNX file cannot hold", next_step="Use --format pt2.")
    path.write_bytes(model.SerializeToString())


def _is_inside(node: Any) -> bool:
    """Whether a node is of the network, not of the arithmetic around it."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    return NETWORK in scopes.replace("'", "").strip("[]").split(", ")


def _clean(model: Any) -> None:
    """Drop what the exporter notes of this machine (a thousand lines of source with their paths), and name sizes."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *model.functions, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for value, names in ((graph.input[0], ("n", "height", "width")), (graph.output[0], ("n",))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = name


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, exporters keep to themselves what they print, log and deprecate in each other."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(disabled)


def require_onnx() -> None:
    """UserError where the extra is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        hint = "Install it: pip install 'ignite-vision[onnx]'"
        raise UserError(f"ONNX needs a package that is not installed: {error.name}", next_step=hint) from error
