"""A model by name or function, with a head for our classes; and freezing that really freezes."""

from __future__ import annotations

import dataclasses
import functools
import pickle
import re
import socket
import struct
import sys
import warnings
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torchvision import models as zoo

from ignite_vision.errors import DAMAGED, UserError, did_you_mean
from ignite_vision.networks import SMALL
from ignite_vision.preprocessing import Preprocessing, from_weights

ModelField = str | Callable[[int], nn.Module]

# Pixels per side below which a network has nothing left to pool, by the beginning of its name. All others are
# enlarged to DEFAULT_MINIMUM, where the smaller that would do (SqueezeNet 21, ResNet 1) see almost nothing.
MINIMUM = {"alexnet": 64, "inception": 75, "maxvit": 224, "vit": 224}
DEFAULT_MINIMUM = 32
FIXED = ("maxvit", "vit")  # built for one size
AUXILIARY = ("googlenet", "inception_v3")  # with further heads, used in training alone; ours are built without
AUXILIARY_KEYS = ("aux1.", "aux2.", "AuxLogits.")
# Where a file of weights is not recognised by its name, torchvision's first weights say how its kind preprocesses.
FIRST_WEIGHTS = "IMAGENET1K_V1"
# Published files still carry the names of older versions of torchvision: (pattern, what it is called today).
OLD_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),  # densenet
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),  # vit
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
# All that torch.load was seen to raise for 8,000 files with a few bytes changed or cut off.
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, MemoryError, AssertionError, AttributeError, TypeError, ValueError),
    *(LookupError, OverflowError, struct.error, pickle.UnpicklingError, SafetensorError),
)
DOWNLOAD_TIMEOUT = 30  # seconds without an answer


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What a model demands: channels (None: any), pixels per side exactly (None: any) and at least."""

    channels: int | None = None
    size: int | None = None
    minimum: int = 1


def names() -> list[str]:
    """Every model that can be named: ours and torchvision's classifiers."""
    return [*SMALL, *zoo.list_models(module=zoo)]


def build(model: ModelField, num_classes: int, weights: str | None = None, load: bool = True) -> nn.Module:
    """Return a network with `num_classes` outputs and a fresh head.

    weights: a torchvision name, or a path to a state dict. Everything but the head is loaded from it, strictly.
    load: False builds what these weights are for and leaves them unread. UserError for an unknown name, or weights
    that do not fit.
    """
    if callable(model):
        network = model(num_classes)
        if not isinstance(network, nn.Module):
            raise UserError(f"the recipe's model function returned {type(network).__name__}, not an nn.Module")
    elif model in SMALL:
        network = SMALL[model].build(num_classes)
    else:
        network = _from_zoo(model, num_classes, weights)
    if weights is not None and load:
        load_backbone(network, read_weights(model, weights), weights)
    return network


def _from_zoo(name: str, num_classes: int, weights: str | None) -> nn.Module:
    if name not in names():
        hint = did_you_mean(name, names()) or "For example resnet18, mobilenet_v2, densenet121, vgg16, vit_b_16."
        raise UserError(f"no model '{name}'", next_step=hint)
    extra: dict[str, Any] = {}
    if name in AUXILIARY:
        # The ImageNet weights were trained on another normalisation, which the network undoes itself. Always so: the
        # state dict does not say, and a network built again from its own weights must be the same function.
        extra = {"aux_logits": False, "init_weights": False, "transform_input": True}
    size = input_of(name, weights).size
    if name.startswith("vit") and size != MINIMUM["vit"]:
        extra = {"image_size": size}
    return zoo.get_model(name, weights=None, num_classes=num_classes, **extra)


def input_of(model: ModelField, weights: str | None = None) -> InputSpec:
    """What a model wants to see. A function wants whatever the data is."""
    if callable(model):
        return InputSpec()
    if model in SMALL:
        return InputSpec(SMALL[model].channels, SMALL[model].size, SMALL[model].size)
    minimum = next((size for prefix, size in MINIMUM.items() if model.startswith(prefix)), DEFAULT_MINIMUM)
    if not model.startswith(FIXED):
        return InputSpec(3, None, minimum)
    preprocessing = weights_preprocessing(model, weights) if weights else None
    size = preprocessing.crop if preprocessing else minimum
    return InputSpec(3, size, size)


def weights_preprocessing(model: ModelField, weights: str) -> Preprocessing | None:
    """Return what torchvision's weights were trained for; None for our own networks and for functions.

    For a file: the preprocessing of the weights that torchvision publishes under its name, else of the first.
    """
    if callable(model) or model not in zoo.list_models(module=zoo):
        return None
    known = zoo.get_model_weights(model)
    if weights == "DEFAULT" or weights in known.__members__:
        return from_weights(known[weights])
    named = [w for w in known if Path(w.url).name == Path(weights).name]
    first = known.__members__.get(FIRST_WEIGHTS) or next(iter(known), None)
    return from_weights(named[0] if named else first) if first else None


def read_weights(model: ModelField, weights: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a torchvision name (downloaded, and its hash checked) or of a file."""
    path = Path(weights).expanduser()
    if path.is_file():
        return read_state_dict(path)
    if path.suffix or "/" in weights:
        raise UserError("no such weights file", path, "Look at --set weights=.")
    if callable(model) or model in SMALL:
        what = "this recipe's model" if callable(model) else model
        raise UserError(f"{what} has no published weights '{weights}'", next_step="Use --set weights=none or a path.")
    known = zoo.get_model_weights(model)
    if weights not in ("DEFAULT", *known.__members__):
        names = ["DEFAULT", *known.__members__]
        hint = did_you_mean(weights, names) or f"There are {', '.join(names)}; or give a path."
        raise UserError(f"{model} has no weights '{weights}'", next_step=hint)
    return _download(known[weights])


def _download(weights: Any) -> dict[str, torch.Tensor]:
    """Fetch into torch's own folder of checkpoints, where what was fetched before is found again."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.exists():
        published_hash = re.search(r"-([0-9a-f]{8,})\.", file.name)
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                weights.url, str(file), published_hash and published_hash[1], progress=sys.stderr.isatty()
            )
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash differs
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"cannot download the weights: {reason}",
                weights.url,
                f"Fetch that file ({weights.meta['_file_size']:,.0f} MB) elsewhere and put it into {file.parent}, "
                "or use --set weights=PATH or --set weights=none.",
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
    return read_state_dict(file)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a .safetensors or torch file. Never runs code. UserError (exit 3) if damaged."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: about the format, not for the reader
            # weights_only always explicit: an environment variable can turn the default off
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).split("\n")[0].split(". ")[0][:120]
        raise UserError(
            f"cannot read the weights: {reason}", path, "Remove it and fetch it again.", code=DAMAGED
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise UserError("the file holds no state dict", path, "Save model.state_dict().", code=DAMAGED)
    return {name.removeprefix("module."): checked(tensor, path) for name, tensor in found.items()}


def checked(tensor: torch.Tensor, path: Path) -> torch.Tensor:
    """Refuse a tensor that is not plain, or claims more than its file holds: a stride of 0 makes terabytes of bytes."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        raise UserError("a tensor in the file is not a plain one", path, "Save dense, real tensors.", code=DAMAGED)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError("a tensor in the file claims more than it holds", path, "Do not use this file.", code=DAMAGED)
    return tensor


def load_backbone(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load everything but the head, which keeps its fresh weights. UserError names what is missing or differs."""
    head = find_head(network)[0] + "."
    full = network.state_dict()
    own = {name: tensor for name, tensor in full.items() if not name.startswith(head)}
    given = {name if name in own else todays_name(name): tensor for name, tensor in state.items()}
    given = {n: t for n, t in given.items() if n in own or not n.startswith((head, *AUXILIARY_KEYS))}
    problems = [f"{name} is missing" for name in own if name not in given and not name.endswith("num_batches_tracked")]
    problems += [f"{name} is unknown" for name in given if name not in own]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    # torchvision's IMAGENET1K_FEATURES have no classifier: it is filled with NaN
    problems += [f"{name} is not finite" for name, tensor in given.items() if not tensor.isfinite().all()]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"the weights do not fit the model: {', '.join(problems[:3])}{more}", source)
    # into the network's own dict, which knows the version of its layout: MNASNet refuses one that does not
    full.update(given)
    network.load_state_dict(full)


def todays_name(name: str) -> str:
    """Return what torchvision now calls a tensor that an older version named."""
    for pattern, replacement in OLD_NAMES:
        name = pattern.sub(replacement, name)
    return name


def find_head(network: nn.Module) -> tuple[str, nn.Module]:
    """(name, layer): the last Linear or convolution in order of registration."""
    found = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not found:
        raise UserError("the model has no Linear or Conv2d layer that could be its head")
    return found[-1]


def freeze(network: nn.Module, trainable: str) -> list[nn.Module]:
    """Let `trainable` and all that is registered after it train; freeze what is before.

    Returns the modules that must stay in eval mode during training (`keep_frozen`): BatchNorm would go on
    averaging, Dropout and StochasticDepth would go on dropping. A Dropout directly before the first layer that
    trains belongs to that layer and is not among them.
    """
    if trainable == "all":
        return []
    first = find_head(network)[0] if trainable == "head" else _first_child(network, trainable)
    modules = list(network.named_modules())
    start = next(i for i, (name, _) in enumerate(modules) if name == first)
    live = {id(p) for _, module in modules[start:] for p in module.parameters(recurse=False)}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in live)
    dropout = dropout_before(network, first)
    below = [module for _, module in modules[:start] if module is not dropout]
    return [module for module in below if not any(id(p) in live for p in module.parameters())]


def dropout_before(network: nn.Module, name: str) -> nn.Module | None:
    """Return the Dropout that its parent registered directly before the child `name`, if there is one.

    A Dropout at the end of the block before, as in a transformer's, is that block's own.
    """
    parent, _, child = name.rpartition(".")
    before = None
    for sibling, module in network.get_submodule(parent).named_children():
        if sibling == child:
            break
        before = module
    return before if isinstance(before, nn.Dropout) else None


def _first_child(network: nn.Module, prefix: str) -> str:
    """Name of the first module whose name starts with `prefix`."""
    names = [name for name, _ in network.named_modules() if name]
    found = [name for name in names if name.startswith(prefix)]
    if not found:
        near = [name for name in names if name.count(".") < 2]
        hint = did_you_mean(prefix, near) or f"Use all, head, or one of {', '.join(near[:8])}."
        raise UserError(f"no part '{prefix}' in the model to train", next_step=hint)
    return found[0]


def keep_frozen(modules: list[nn.Module]) -> None:
    """Put frozen modules back into eval mode, as cheaply as can be: this runs in every iteration."""
    for module in modules:
        module.training = False


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """(trainable, frozen) numbers of parameters."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in network.parameters()) - trainable


def architecture(model: ModelField) -> str:
    """Say where the network comes from: torchvision:NAME, ignite_vision:NAME, or recipe:MODULE:FUNCTION."""
    if isinstance(model, functools.partial):
        return architecture(model.func)
    if callable(model):
        return f"recipe:{model.__module__}:{getattr(model, '__qualname__', type(model).__qualname__)}"
    return f"ignite_vision:{model}" if model in SMALL else f"torchvision:{model}"
