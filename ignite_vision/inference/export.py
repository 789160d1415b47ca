"""`export`: a trained model as a file that other programs run, proven before it is there."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ignite_vision.errors import UserError
from ignite_vision.inference.onnx_file import quiet, require_onnx, write_onnx, write_proto
from ignite_vision.inference.onnx_model import session
from ignite_vision.inference.portable import Half, Portable, exported
from ignite_vision.inference.proof import Proof, prove
from ignite_vision.inference.quantise import divide_logits, images_for, quantise
from ignite_vision.inference.source import Source, open_source
from ignite_vision.models.model_file import KEY, load_weights
from ignite_vision.system.files import expect_writable, replacing

LEFT_OUT = ("extra_state", "header_sha256", "batch_size")  # of a header: what speaks of the model file alone


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for. model: a run directory or a model.safetensors. out: None: beside the model.

    int8: the network in 8-bit integers. data: where the run's images are now. force: replace a file that is there.
    """

    model: Path
    format: str = "onnx"
    precision: str = "fp32"
    int8: bool = False
    out: Path | None = None
    data: Path | None = None
    force: bool = False

    @property
    def computes(self) -> str:
        """fp32, fp16 or int8."""
        return "int8" if self.int8 else self.precision


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written: the file, what it computes in, its proof (None for a copy), and what is to be known of it."""

    path: Path
    computes: str
    proof: Proof | None
    notes: tuple[str, ...] = ()


def export(request: Request, begin: Callable[[Path], None] = lambda _: None) -> Exported:
    """Write the file that is asked for, once it has proven itself; otherwise nothing.

    begin: called with the temporary file's name before it is written, so that a signal can remove it.
    UserError: for what cannot be exported or written (exit 2), and for a file that does not answer as the model (exit
    3). OSError when the disk does not take it.
    """
    refuse_contradictions(request)
    if request.format == "onnx":
        require_onnx()
    source = open_source(request.model, request.data)
    out = destination(request, source)
    if request.int8:
        images_for(source)  # now, not after a minute
    with replacing(out, ".export") as temporary:
        begin(temporary)
        proof, notes = WRITERS[request.format](request, source, temporary)
    if proof is not None and source.splits is None:
        notes += (f"not on the run's own images: {source.why_not}",)
    return Exported(out, request.computes, proof, notes)


def refuse_contradictions(request: Request) -> None:
    """UserError for options that do not go together."""
    if request.int8 and request.format != "onnx":
        raise UserError(f"int8 is for onnx, not for {request.format}", next_step="Leave out --format or --quantize.")
    if request.precision != "fp32" and request.format == "safetensors":
        raise UserError("a copy has the precision that it has", next_step="Leave out --precision.")
    if request.int8 and request.precision == "fp16":
        raise UserError("fp16 and int8 are two files", next_step="Leave out --precision or --quantize.")
    if request.format == "safetensors" and request.out is None:
        raise UserError("the model is a safetensors file already", next_step="Say where the copy goes: --out FILE.")


def destination(request: Request, source: Source) -> Path:
    """Return where the file goes: before the work, since that takes a minute. UserError where it cannot."""
    mark = "" if request.computes == "fp32" else f".{request.computes}"
    out = request.out or source.file.with_name(f"model{mark}.{request.format}")
    if out.is_dir():
        raise UserError("--out is a folder", out, "Name a file in it.")
    if request.out is not None and out.suffix != f".{request.format}":
        raise UserError(f"--out does not end in .{request.format}", out, "Rename it, or choose another --format.")
    if out.exists() and out.samefile(source.file):
        raise UserError("this is the model itself", out, "Choose another --out.")
    if out.exists() and not request.force:
        raise UserError("the file is there already", out, "Use --force to replace it, or choose another --out.")
    expect_writable(out)
    return out


def header_of(source: Source, computes: str, **changed: float | None) -> dict[str, Any]:
    """Return the model's header as the file's own, JSON-plain. changed: fields that are others than the model's."""
    header = {name: value for name, value in source.classifier.header.items() if name not in LEFT_OUT}
    header["export"] = {"precision": computes, "trained_in": header["precision"]}
    header["precision"] = "fp16" if computes == "fp16" else "fp32"
    return header | changed


def portable(request: Request, source: Source) -> Portable:
    """Return the whole classifier as one network, in the precision that is asked for. Its weights are copies."""
    classifier = source.classifier
    network = copy.deepcopy(classifier.network).to(memory_format=torch.contiguous_format)
    if request.precision == "fp16":
        network = Half(network)
    return Portable(network, classifier.preprocessing, classifier.temperature)


def _onnx(request: Request, source: Source, file: Path) -> tuple[Proof, tuple[str, ...]]:
    """Write ONNX, in int8 if that is asked for, and prove it."""
    around = write_onnx(portable(request, source), file, header_of(source, request.computes))
    notes = _in_int8(source, file, around) if request.int8 else ()
    return prove(source, session(file), file, request.computes), notes


def _in_int8(source: Source, file: Path, around: list[str]) -> tuple[str, ...]:
    """Replace a file in fp32 by the same in int8, with a temperature of its own."""
    import onnx

    with scratch_beside(file) as scratch:
        best = quantise(source, file, around, scratch / "model.onnx")
        model = onnx.load(str(best.path))
    divide_logits(model, best.temperature / source.classifier.temperature)
    own = {"temperature": best.temperature, "abstain_below": best.abstain_below}
    write_proto(model, file, header_of(source, "int8", **own))
    return (f"int8 by {best.method}, temperature {best.temperature:.3g}; in fp32 {source.classifier.temperature:.3g}",)


@contextlib.contextmanager
def scratch_beside(file: Path) -> Iterator[Path]:
    """A folder beside a file, which is gone at the end; within, onnxruntime's own temporary folders lie in it, too."""
    folder, before = scratch_of(file), tempfile.tempdir
    shutil.rmtree(folder, ignore_errors=True)  # of a killed command
    folder.mkdir()
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def scratch_of(file: Path) -> Path:
    """Where what is needed while a file is quantised lies."""
    return file.with_name(f"{file.name}.d")


def _pt2(request: Request, source: Source, file: Path) -> tuple[Proof, tuple[str, ...]]:
    """Write what torch.export has, and prove it. Only a file of our own is loaded: torch unpickles parts of it."""
    archive = io.BytesIO()  # in which torch calls its folder "archive", not as the temporary file
    with quiet():
        texts = {KEY: json.dumps(header_of(source, request.computes), sort_keys=True)}
        torch.export.save(exported(portable(request, source)), archive, extra_files=texts)
        file.write_bytes(archive.getbuffer())
        module = torch.export.load(file).module()

    def ask(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answer: np.ndarray = module(torch.from_numpy(images)).numpy()
        return answer

    return prove(source, ask, file, request.computes), ()


def _safetensors(request: Request, source: Source, file: Path) -> tuple[None, tuple[str, ...]]:
    """Copy the model file, which was verified when it was loaded."""
    del request
    shutil.copyfile(source.file, file)
    load_weights(source.classifier.network, file)  # every bit of it is compared with the hashes in its header
    return None, ()


WRITERS: dict[str, Callable[[Request, Source, Path], tuple[Proof | None, tuple[str, ...]]]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "safetensors": _safetensors,
}
