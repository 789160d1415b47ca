"""Which backbone, for these images: the features of several, computed once, and the same head on each."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ignite_vision.data.images import IMAGE_EXTENSIONS
from ignite_vision.data.preprocessing import center_crop, normalize
from ignite_vision.errors import UserError
from ignite_vision.evaluation.intervals import NOISE, mcnemar, wilson
from ignite_vision.loading.batches import eval_batch
from ignite_vision.loading.features import AS_FEATURES, Features
from ignite_vision.loading.sources import Decoded
from ignite_vision.prepare import Options, Prepared, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.system.device import autocast, synchronize
from ignite_vision.training.logistic import Regression, stratified_folds, strength_of
from ignite_vision.training.strengths import is_judged_by_folds

# Small ones and large ones, of different kinds and trainings: which is best differs from folder to folder. Weights
# that are not here and cannot be fetched are passed over.
DEFAULTS = ("mobilenet_v2", "efficientnet_b0", "convnext_tiny")
DEFAULTS_OF_TIMM = (
    "timm:tf_efficientnet_lite2",
    "timm:convnext_tiny.in12k_ft_in1k",
    "timm:tiny_vit_21m_224.dist_in22k_ft_in1k",
    "timm:vit_small_patch14_dinov2.lvd142m",
)
MOST_TOGETHER = 3
PATIENCE = 2  # strengths that may be better in neither accuracy nor loss: the weakest take longest
EPOCHS = range(1, 15, 2)  # of `run` whose strengths are tried, every other: 1e5, 1e4 ... 0.1
TOLERANCE = 1e-3  # of a head that is only judged: five times that of one to use, in 0.6 of the time
TIMED = 8  # images on which prediction is timed
LOOKED_AT = ("train", "val")
DECIDED = ("model", "weights", "head", *AS_FEATURES)  # fields of the recipe that are no one else's to set here
PLUS = "+"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model, named as in a recipe, and its weights: DEFAULT, a path, or None for random ones."""

    model: str
    weights: str | None = "DEFAULT"

    def __str__(self) -> str:
        return self.model if self.weights == "DEFAULT" else f"{self.model}={self.weights}"

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """Read `NAME` or `NAME=WEIGHTS`. UserError for an empty part."""
        model, equals, weights = text.partition("=")
        if not model.strip() or (equals and not weights.strip()):
            raise UserError(f"'{text}' names no model", next_step="Write NAME or NAME=PATH, joined by commas.")
        return cls(model.strip(), weights.strip() or "DEFAULT")


ANY = Candidate("squeezenet1_1", None)  # a small network, for what is not about networks


@dataclasses.dataclass(frozen=True)
class Judged:
    """A head on features: at which strength, and which images it has right, which it was not fitted to."""

    strength: float
    right: torch.Tensor
    """(n,) bool, of the validation images; of the training images, too, where validation has too few."""

    @property
    def accuracy(self) -> float:
        """Fraction that is right."""
        return float(self.right.double().mean())


@dataclasses.dataclass(frozen=True)
class Probed:
    """What was found of one model, or of several side by side."""

    model: str
    weights: str
    judged: Judged
    feature_seconds: float | None
    """Seconds in which the features were computed; None if they were there."""
    image_seconds: float
    """Seconds from an image file to its answer, on this machine, in batches."""
    megabytes: float
    """Of the weights, in float32."""
    licence: str | None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy."""
        return wilson(int(self.judged.right.sum()), len(self.judged.right))


@dataclasses.dataclass(frozen=True)
class Probe:
    """The models, the best first; why others are missing; and how accuracy was measured."""

    found: list[Probed]
    skipped: dict[str, str]
    cross_validated: bool

    @property
    def best(self) -> Probed:
        """What is recommended."""
        return self.found[0]

    def chance(self, other: Probed) -> float:
        """How often chance alone would make a difference to the best that is as large (McNemar's exact test)."""
        return mcnemar(self.best.judged.right, other.judged.right)

    def as_good(self) -> Probed | None:
        """The fastest model whose difference to the best is noise, if it is faster."""
        equal = [one for one in self.found[1:] if self.chance(one) > NOISE]
        fastest = min(equal, key=lambda one: one.image_seconds, default=None)
        return fastest if fastest and fastest.image_seconds < self.best.image_seconds else None


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A candidate with its features, as long as others are put beside them."""

    probed: Probed
    features: torch.Tensor
    """(N,D): of the training images, then of the validation images."""


def probe(
    loaded: LoadedRecipe,
    candidates: Sequence[Candidate],
    options: Options,
    overrides: dict[str, str],
    say: Callable[[str], None],
) -> Probe:
    """Try each candidate's features with the same head, then the best together. The test split is not looked at.

    options.budget: seconds for all of it. UserError for what is wrong with the images or the overrides, and if no
    candidate can be tried.
    """
    refuse_decided(overrides)
    kept: list[Kept] = []
    errors: dict[str, UserError] = {}
    say = functools.cache(say)  # the data are prepared anew for each model
    prepared = prepared_for(loaded, ANY, options, overrides, say)  # what is wrong with these is no candidate's fault
    for candidate in dict.fromkeys(candidates):
        try:
            prepared = prepared_for(loaded, candidate, options, overrides, say)
            kept.append(try_one(prepared, candidate))
            say(line_of(kept[-1].probed))
        except UserError as error:
            if error.path is not None and Path(error.path).suffix.lower() in IMAGE_EXTENSIONS:
                raise  # one that cannot be read is no model's fault
            errors[str(candidate)] = error
    if not kept:
        raise none_tried(errors)
    skipped = {name: str(error) for name, error in errors.items()}
    found = [one.probed for one in kept]
    together = best_together(kept, prepared)
    if together:
        candidate = Candidate(together.model, together.weights)
        try:
            prepared = prepared_for(loaded, candidate, options, overrides, say)
            found.append(try_one(prepared, candidate).probed)
            say(line_of(found[-1]))
        except UserError as error:
            skipped[str(candidate)] = str(error)
    found.sort(key=lambda one: (-one.judged.accuracy, one.image_seconds))
    return Probe(found, skipped, is_judged_by_folds(prepared))


def refuse_decided(overrides: dict[str, str]) -> None:
    """UserError for settings of what is tried here."""
    if decided := [name for name in DECIDED if name in overrides]:
        what = f"probe tries several models in one way, so {decided[0]} cannot be set"
        raise UserError(what, next_step="Name models with --models NAME or NAME=WEIGHTS, and leave it out.")


def none_tried(errors: dict[str, UserError]) -> UserError:
    """Return the error of a single candidate, or that of all of them in one line."""
    first = next(iter(errors.values()))
    if len(errors) == 1:
        return first
    reasons = "; ".join(f"{name}: {error.what}" for name, error in errors.items())
    return UserError(f"no model could be tried: {reasons}", None, "Name others with --models NAME=WEIGHTS.", first.code)


def prepared_for(
    loaded: LoadedRecipe, candidate: Candidate, options: Options, overrides: dict[str, str], say: Callable[[str], None]
) -> Prepared:
    """The recipe's data with another model, frozen, and no augmentation."""
    recipe = dataclasses.replace(
        loaded.recipe,
        model=candidate.model,
        weights=candidate.weights,
        **AS_FEATURES,
    )
    return prepare(dataclasses.replace(loaded, recipe=recipe), overrides, options, say)


def try_one(prepared: Prepared, candidate: Candidate) -> Kept:
    """Compute the features of training and validation, and fit heads to them. UserError where that cannot be done."""
    features = Features(prepared)
    obstacle = features.obstacle(LOOKED_AT)
    if obstacle:
        raise UserError(obstacle)
    there = all(map(features.is_computed, LOOKED_AT))
    began = time.monotonic()
    val = features.vectors("val")
    refuse_too_slow(prepared, time.monotonic() - began)
    rows = torch.cat([features.vectors("train"), val])
    seconds = time.monotonic() - began
    probed = Probed(
        model=candidate.model,
        weights=str(candidate.weights or "none"),
        judged=judge(rows, prepared),
        feature_seconds=None if there else seconds,
        image_seconds=seconds_per_image(prepared),
        megabytes=sum(p.numel() for p in prepared.model.parameters()) * 4 / 1e6,
        licence=prepared.origin["license"] if prepared.origin else None,
    )
    return Kept(probed, rows)


def refuse_too_slow(prepared: Prepared, seconds: float) -> None:
    """UserError if the training images would take longer than what is left. seconds: for the validation images."""
    budget, sizes = prepared.options.budget, {name: len(images) for name, images in prepared.splits.items()}
    if budget is None:
        return
    needed = seconds * sizes["train"] / sizes["val"]
    left = budget - (time.monotonic() - prepared.options.began)
    if needed > left:
        raise UserError(f"its features would take {needed:.0f} s, and {max(left, 0):.0f} s are left")


def judge(rows: torch.Tensor, prepared: Prepared) -> Judged:
    """Fit a head at every strength and return the best by images that it was not fitted to.

    rows: (N,D) of the training images, then of the validation images. With few of these, every image is left out of
    one of several folds, and judged by the head that was fitted without it.
    """
    splits, classes = prepared.splits, len(prepared.splits.classes)
    targets = torch.cat([splits.train.targets, splits.val.targets])
    if is_judged_by_folds(prepared):
        fold = stratified_folds(targets)
        used, judged = fold != torch.arange(int(fold.max()) + 1)[:, None], torch.ones(len(targets), dtype=torch.bool)
    else:
        judged = torch.arange(len(targets)) >= len(splits.train)
        fold, used = torch.zeros_like(targets), ~judged[None]
    best, lowest, since = None, math.inf, 0
    for strength, logits in path(rows, targets, classes, used, fold):
        found = Judged(strength, logits[judged].argmax(1) == targets[judged])
        loss = float(F.cross_entropy(logits[judged], targets[judged]))
        better = best is None or found.accuracy > best.accuracy
        since = 0 if better or loss < lowest else since + 1
        best, lowest = found if better else best, min(lowest, loss)
        if since == PATIENCE:
            break
    assert best is not None  # there is a strength
    return best


def path(
    rows: torch.Tensor, targets: torch.Tensor, classes: int, used: torch.Tensor, fold: torch.Tensor
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield (strength, what the head of its own fold says of each row: (N,C) logits), the strongest first."""
    regression = Regression(rows, targets, classes, used)
    heads = regression.zeros()
    for strength in map(strength_of, EPOCHS):
        heads = regression.solve(heads, strength, TOLERANCE)
        yield strength, regression.logits(heads)[torch.arange(len(rows)), fold]


def best_together(kept: list[Kept], prepared: Prepared) -> Probed | None:
    """The best of two or three models side by side, put together one by one, each of which earns its place.

    From the features that are there: each model has its own images here, in the model that is made of them they share
    the largest. So what is found is tried once more, as it will be run.
    """
    order = sorted(kept, key=lambda one: -one.probed.judged.accuracy)
    chosen, best = order[:1], order[0].probed.judged
    while len(chosen) < min(MOST_TOGETHER, len(order)):
        tried = [(judge(side_by_side([*chosen, one]), prepared), one) for one in order if one not in chosen]
        judged, added = max(tried, key=lambda pair: pair[0].accuracy)
        if not earns_its_place(judged, best):
            break
        chosen, best = [*chosen, added], judged
    return joined(chosen, best) if len(chosen) > 1 else None


def earns_its_place(judged: Judged, best: Judged) -> bool:
    """Whether a model more, which costs its time for every image for ever, gains a standard error of the difference."""
    gained, lost = int((judged.right & ~best.right).sum()), int((best.right & ~judged.right).sum())
    return gained > lost and gained - lost >= math.sqrt(gained + lost)


def joined(chosen: list[Kept], judged: Judged) -> Probed:
    """Models side by side, as one."""
    parts = [one.probed for one in chosen]
    each = [text for part in parts for text in weights_of_each(part)]
    return dataclasses.replace(
        parts[0],
        model=PLUS.join(part.model for part in parts),
        weights="DEFAULT" if set(each) == {"DEFAULT"} else PLUS.join(each),
        judged=judged,
    )


def weights_of_each(one: Probed) -> list[str]:
    """Weights of a model, or of each of several side by side."""
    networks = one.model.split(PLUS)
    return ["DEFAULT"] * len(networks) if one.weights == "DEFAULT" else one.weights.split(PLUS, len(networks) - 1)


def side_by_side(several: list[Kept]) -> torch.Tensor:
    """Features of several models, each of one length: (N, all D)."""
    return torch.cat([F.normalize(one.features, dim=1) for one in several], dim=1)


def seconds_per_image(prepared: Prepared) -> float:
    """Seconds from a file to an answer, for each image of a batch: the better of two, as the first warms up."""
    n = min(TIMED, len(prepared.splits.val))
    decoded = Decoded(prepared.splits.val.subset(range(n)), prepared.canvas, prepared.recipe.seed)
    batch = eval_batch(prepared.recipe, prepared.splits)
    prepared.model.eval()
    times = []
    for _ in range(2):
        began = time.perf_counter()
        with torch.inference_mode(), autocast(prepared.device, prepared.precision):
            for first in range(0, n, batch):
                images = decoded[0, np.arange(first, min(first + batch, n))].to(prepared.device)
                prepared.model(normalize(center_crop(images, prepared.preprocessing.size), prepared.preprocessing))
        synchronize(prepared.device)
        times.append(time.perf_counter() - began)
    return min(times) / n


def line_of(one: Probed) -> str:
    """A line on what was just found, for someone who waits."""
    low, high = one.interval
    seconds = "features were there" if one.feature_seconds is None else f"features in {one.feature_seconds:.0f} s"
    return f"tried      {one.model}: {one.judged.accuracy:.3f} ({low:.3f} to {high:.3f}), {seconds}"


def default_candidates() -> list[Candidate]:
    """What is tried where nothing is named: torchvision's, and timm's where it is installed."""
    has_timm = importlib.util.find_spec("timm") is not None
    return [Candidate(model) for model in (*DEFAULTS, *(DEFAULTS_OF_TIMM if has_timm else ()))]
