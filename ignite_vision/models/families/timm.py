"""timm's classifiers as `timm:NAME` or `timm:NAME.TAG`, and the weights that it publishes. Imports timm when asked."""

from __future__ import annotations

import functools
import importlib.util
import logging
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.models.families.family import Family, InputSpec, NotInstalled
from ignite_vision.models.head import find_head
from ignite_vision.models.meta import answer_shape, without_memory
from ignite_vision.models.weights import read_state_dict

PREFIX = "timm"
INSTALL = "pip install 'ignite-vision[timm]'"
FILE = "model.safetensors"  # of a repository on the hub; pickled files are never fetched
LEAST = 32  # pixels per side, as of torchvision's: what a convolutional network has five halvings for
# Vision transformers of more than this many pixels which their name does not say are used at USUAL: DINOv2 is published
# for 518, eight times the work of 224, and its position embedding is resampled for either.
LARGE, USUAL = 256, 224


def names() -> list[str]:
    """Every classifier of timm, without the tags of its weights; none where timm is not installed."""
    return list(_listed()) if importlib.util.find_spec("timm") else []


def owns(name: str) -> bool:
    """Whether timm lists this network, or these weights of it. UserError where timm is not installed.

    Nothing else is looked up: no `hf_hub:` and no `local-dir:`, which would fetch or read what a file names.
    """
    return name in _listed() or name in _published()


def build(name: str, num_classes: int, image_size: int | None) -> nn.Module:
    """Return the network with fresh weights. image_size: of networks that are built for one.

    UserError for one without a classifier, such as the encoders of language models.
    """
    network = _create(name, num_classes, image_size)
    head = find_head(network)[1]
    if num_classes not in (getattr(head, "out_features", None), getattr(head, "out_channels", None)):
        raise UserError(f"{PREFIX}:{name} has no head that could be replaced", next_step="Choose another model.")
    return network


def demands(name: str, weights: str | None) -> InputSpec:
    """Three channels, and a size: a default for a network that is built for one, else the least that works."""
    cfg = _cfg(name, weights)
    if not cfg.fixed_input_size:
        return InputSpec(3, None, LEAST)
    size = _side(name, cfg)
    if size > LARGE and name.startswith("vit_") and str(size) not in name:
        size = USUAL
    return InputSpec(3, size, size, resizable=True)


def preprocessing(name: str, weights: str) -> Preprocessing:
    """Return what these weights were trained for; for a file, those that are published under its name, or the first."""
    cfg = _cfg(name, weights)
    size = _side(name, cfg)
    return Preprocessing(
        channels=3,
        resize=max(size, math.floor(size / cfg.crop_pct)),  # timm rounds down
        crop=size,
        interpolation=cfg.interpolation,
        mean=cfg.mean,
        std=cfg.std,
    )


def notes(name: str, weights: str) -> tuple[str, ...]:
    """Say what is done otherwise here than in the training of these weights."""
    cfg, spec = _cfg(name, weights), demands(name, weights)
    found = []
    if cfg.crop_mode != "center":
        how = {"squash": "were squashed to a square", "border": "were filled up to a square"}[cfg.crop_mode]
        found.append(f"images {how} when these weights were trained; here the centre square is cut out")
    if spec.size is not None and spec.size != _side(name, cfg):
        found.append(
            f"published for {_side(name, cfg)} pixels, used at {spec.size} unless image_size says another number"
        )
    return tuple(found)


def read_weights(name: str, weights: str) -> dict[str, torch.Tensor]:
    """Return the state dict of the published weights: a safetensors file, downloaded once into the hub's own cache."""
    return read_state_dict(_download(_default(name, weights)))


def weights_identity(name: str, weights: str) -> str:
    """Return the repository on the hub, which has the name of network and tag. Its hash is not known offline."""
    return str(_default(name, weights).hf_hub_id)


def source(name: str, weights: str) -> str:
    """Return network and tag of the published weights."""
    return f"{PREFIX}:{_full_name(_default(name, weights))}"


def licence(name: str, weights: str) -> str | None:
    """Return the licence that timm states for published weights, also for a file of their name; None: unknown."""
    cfg = _recognised(name, weights)
    return None if cfg is None or cfg.license in (None, "unknown") else str(cfg.license)


def published(name: str) -> bool:
    """Whether a safetensors file of weights is published for this network."""
    cfg = _timm().get_pretrained_cfg(name)
    return bool(cfg.hf_hub_id) and _full_name(cfg) in _published()


def fit(name: str, state: dict[str, torch.Tensor], image_size: int | None) -> dict[str, torch.Tensor]:
    """Return a published state dict as timm's network of today has it: other names, position embeddings of other sizes.

    timm converts while it loads into a network with the head of the file. What it cannot load is returned as it is,
    and `load_backbone` says what differs.
    """
    cfg = _cfg(name, None)
    heads = [cfg.classifier] if isinstance(cfg.classifier, str) else list(cfg.classifier or [])
    weight = next((state[f"{head}.weight"] for head in heads if f"{head}.weight" in state), None)
    classes = 0 if weight is None else len(weight)
    overlay = {"state_dict": dict(state), "num_classes": classes, "label_offset": 0, "custom_load": False}
    try:
        with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: nobody's next number changes
            network = _create(name, classes, image_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, LookupError, ValueError, AssertionError, AttributeError, TypeError):
        return state
    return network.state_dict()


def _create(name: str, num_classes: int, image_size: int | None, **options: Any) -> nn.Module:
    """Build by name. UserError for a size that the network cannot be built for."""
    cfg = _cfg(name, None)
    if cfg.fixed_input_size and image_size not in (None, cfg.input_size[-1]):
        if not _takes(name, image_size):
            what = f"{PREFIX}:{name} cannot be built for images of {image_size} pixels"
            raise UserError(what, next_step=f"Leave image_size out: it is made for {cfg.input_size[-1]}.")
        options["img_size"] = image_size
    return _timm().create_model(name, num_classes=num_classes, **options)


@functools.cache
def _takes(name: str, image_size: int) -> bool:
    """Whether a network can be built for images of this size, and then takes them."""
    make = functools.partial(_timm().create_model, name, num_classes=2, img_size=image_size)
    try:
        return answer_shape(without_memory(make), 3, image_size) == (2, 2)
    except (RuntimeError, TypeError, AssertionError, ValueError, ZeroDivisionError):
        return False


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise NotInstalled("timm is not installed", next_step=f"Install it: {INSTALL}") from error
    return timm


@functools.cache
def _listed() -> dict[str, None]:
    """Return the names of timm's networks, in order."""
    return dict.fromkeys(_timm().list_models())


@functools.cache
def _published() -> frozenset[str]:
    """Return NAME.TAG of every weights that timm publishes."""
    return frozenset(_timm().list_pretrained())


def _cfg(name: str, weights: str | None) -> Any:
    """Return timm's record of these weights; for None, or a file of another name, that of the model's own tag."""
    return (weights and _recognised(name, weights)) or _timm().get_pretrained_cfg(name)


def _recognised(name: str, weights: str) -> Any:
    """Return the record of published weights by DEFAULT, or by the name of a file, NAME.TAG.safetensors; else None."""
    if weights == "DEFAULT":
        return _timm().get_pretrained_cfg(name)
    stem = Path(weights).name.removesuffix(Path(weights).suffix)
    same = stem.partition(".")[0] == name.partition(".")[0] and stem in _published()
    return _timm().get_pretrained_cfg(stem) if same else None


def _default(name: str, weights: str) -> Any:
    """Return the record of what DEFAULT means. UserError for another name, or if there is nothing on the hub."""
    tags = sorted(full.partition(".")[2] for full in _published() if full.partition(".")[0] == name.partition(".")[0])
    bare = name.partition(".")[0]
    if weights != "DEFAULT":
        hint = did_you_mean(weights, ["DEFAULT"]) or f"Use DEFAULT, a path, or a tag of the model: {PREFIX}:{bare}.TAG"
        raise UserError(f"{PREFIX}:{name} has no weights '{weights}'", next_step=f"{hint} of {', '.join(tags[:5])}.")
    cfg = _timm().get_pretrained_cfg(name)
    if not published(name):
        hint = "Use --set weights=PATH or --set weights=none."
        raise UserError(f"no safetensors file of weights is published for {PREFIX}:{name}", next_step=hint)
    return cfg


def _full_name(cfg: Any) -> str:
    return f"{cfg.architecture}.{cfg.tag}" if cfg.tag else str(cfg.architecture)


def _side(name: str, cfg: Any) -> int:
    """Pixels per side. UserError for images that are not square: Sapiens', of a gigabyte, are the only ones."""
    _, height, width = cfg.input_size
    if height != width:
        raise UserError(
            f"{PREFIX}:{name} wants images of {height}x{width} pixels; of timm, networks for squares alone are taken",
            next_step="Choose another model.",
        )
    return int(width)


def _download(cfg: Any) -> Path:
    """Fetch into the hub's own cache, where what was fetched before is found again without a network."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = cfg.hf_hub_id.partition("@")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it says each of its five tries
    try:
        return Path(hf_hub_download(repository, cfg.hf_hub_filename or FILE, revision=revision or None))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, ValueError) as error:
        raise UserError(
            "cannot download the weights: the hub is not reached or does not have them",
            f"https://huggingface.co/{repository}",
            f"Fetch its {FILE} elsewhere, save it as {_full_name(cfg)}.safetensors "
            "and use --set weights=PATH, or use --set weights=none.",
        ) from error


FAMILY = Family(
    prefix=PREFIX,
    names=names,
    owns=owns,
    by_prefix_only=True,
    build=build,
    demands=demands,
    preprocessing=preprocessing,
    notes=notes,
    read_weights=read_weights,
    weights_identity=weights_identity,
    source=source,
    licence=licence,
    published=published,
    fit=fit,
)
