"""torchvision's classifiers, and the weights that it publishes for them."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models as zoo

from ignite_vision.data.downloads import TIMEOUT, socket_timeout
from ignite_vision.data.preprocessing import Preprocessing, from_weights
from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.models.families.family import Family, InputSpec
from ignite_vision.models.weights import read_state_dict

PREFIX = "torchvision"
# Pixels per side below which a network has nothing left to pool, by the beginning of its name. All others are
# enlarged to DEFAULT_MINIMUM, where the smaller that would do (SqueezeNet 21, ResNet 1) see almost nothing.
MINIMUM = {"alexnet": 64, "inception": 75, "maxvit": 224, "vit": 224}
DEFAULT_MINIMUM = 32
FIXED = ("maxvit", "vit")  # built for one size
AUXILIARY = ("googlenet", "inception_v3")  # with further heads, used in training alone; ours are built without
# Where a file of weights is not recognised by its name, torchvision's first weights say how its kind preprocesses.
FIRST_WEIGHTS = "IMAGENET1K_V1"


def names() -> list[str]:
    """Every classifier of torchvision."""
    return list(zoo.list_models(module=zoo))


def build(name: str, num_classes: int, image_size: int | None) -> nn.Module:
    """Return the network with fresh weights and without auxiliary heads. image_size: of vision transformers.

    SqueezeNet ends in a linear layer on the mean of its map, where torchvision has a convolution, a ReLU and then the
    mean: on 25 classes of Caltech-101 that head has 0.833 of the test images right and a linear one 0.94.
    """
    network = as_trained(name, num_classes, image_size)
    if name.startswith("squeezenet"):
        head = nn.Linear(512, num_classes)
        nn.init.normal_(head.weight, std=0.01)  # as torchvision's: features are large here
        nn.init.zeros_(head.bias)
        before = {"0": nn.Dropout(0.5), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        network.classifier = nn.Sequential(OrderedDict(before | {"1": head}))
    return network


def as_trained(name: str, num_classes: int, image_size: int | None) -> nn.Module:
    """Return the network as torchvision has it, without auxiliary heads."""
    extra: dict[str, Any] = {}
    if name in AUXILIARY:
        # The ImageNet weights were trained on another normalisation, which the network undoes itself. Always so: the
        # state dict does not say, and a network built again from its own weights must be the same function.
        extra = {"aux_logits": False, "init_weights": False, "transform_input": True}
    if name.startswith("vit") and image_size not in (None, MINIMUM["vit"]):
        extra = {"image_size": image_size}
    try:
        return zoo.get_model(name, weights=None, num_classes=num_classes, **extra)
    except AssertionError as error:  # the patches do not fill the image
        raise UserError(f"{name} cannot be built for images of {image_size} pixels") from error


def demands(name: str, weights: str | None) -> InputSpec:
    """Three channels, and a size: exactly the weights' for a transformer of one size, else the least that works."""
    minimum = next((size for prefix, size in MINIMUM.items() if name.startswith(prefix)), DEFAULT_MINIMUM)
    if not name.startswith(FIXED):
        return InputSpec(3, None, minimum)
    trained = preprocessing(name, weights) if weights else None
    size = trained.crop if trained else minimum
    return InputSpec(3, size, size, resizable=trained is None and name.startswith("vit"))


def preprocessing(name: str, weights: str) -> Preprocessing | None:
    """Return what these weights were trained for.

    For a file: the preprocessing of the weights that torchvision publishes under its name, else of the first.
    """
    known = zoo.get_model_weights(name)
    first = known.__members__.get(FIRST_WEIGHTS) or next(iter(known), None)
    found = _recognised(name, weights) or first
    return from_weights(found) if found else None


def read_weights(name: str, weights: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a published name, downloaded once, and then with its hash checked."""
    return _download(_published(name, weights))


def weights_identity(name: str, weights: str) -> str:
    """Return the published file's name, which has eight digits of its hash."""
    return Path(_published(name, weights).url).name


def source(name: str, weights: str) -> str:
    """Return the network and the full name of its weights, whatever DEFAULT means in this version."""
    return f"{PREFIX}:{name} {_published(name, weights).name}"


def published(name: str) -> bool:
    """Whether there are weights of this network."""
    return len(zoo.get_model_weights(name)) > 0


def parameters(name: str) -> int | None:
    """Return what torchvision says of the weights that are the default; None if there are none."""
    first = next(iter(zoo.get_model_weights(name)), None)
    return int(first.meta["num_params"]) if first else None


def licence(name: str, weights: str) -> str | None:
    """Return where the weights' licence is, for those that torchvision names one for."""
    found = _recognised(name, weights)
    return found.meta.get("license") if found else None


def _recognised(name: str, weights: str) -> Any:
    """Return the published weights of this name, or of this file name; None if there are none."""
    known = zoo.get_model_weights(name)
    if weights in known.__members__:
        return known[weights]
    return next((w for w in known if Path(w.url).name == Path(weights).name), None)


def _published(name: str, weights: str) -> Any:
    """Return the published weights of this name, or refuse it with the nearest."""
    known = zoo.get_model_weights(name)
    if weights not in known.__members__:
        choices = list(dict.fromkeys(["DEFAULT", *known.__members__]))
        hint = did_you_mean(weights, choices) or f"Choose one of {', '.join(choices)}, or give a path."
        raise UserError(f"{name} has no weights '{weights}'", next_step=hint)
    return known[weights]


def _download(weights: Any) -> dict[str, torch.Tensor]:
    """Fetch into torch's own folder of checkpoints, where what was fetched before is found again."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.exists():
        published_hash = re.search(r"-([0-9a-f]{8,})\.", file.name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with socket_timeout(TIMEOUT):
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
    return read_state_dict(file)


FAMILY = Family(
    prefix=PREFIX,
    names=names,
    build=build,
    demands=demands,
    preprocessing=preprocessing,
    read_weights=read_weights,
    weights_identity=weights_identity,
    source=source,
    licence=licence,
    published=published,
    parameters=parameters,
    as_trained=as_trained,
)
