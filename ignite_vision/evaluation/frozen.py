"""What a frozen pretrained network sees in images, and what that says of their labels before anything is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ignite_vision.data.splits import NAMES
from ignite_vision.errors import UserError
from ignite_vision.evaluation.label_errors import Suspect, listed, out_of_fold
from ignite_vision.loading.features import AS_FEATURES, Features
from ignite_vision.models.head import find_head
from ignite_vision.prepare import Options, Prepared, Say, prepare
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import LoadedRecipe, load

# images x features x classes of a logistic regression: some twenty seconds on a core for its five folds
MOST_WORK = 3e8


def judged_before_training(
    loaded: LoadedRecipe, overrides: dict[str, str], options: Options, say: Say
) -> tuple[list[Suspect], str]:
    """(images whose label may be wrong, by what model), each image judged by what its features say of the others'.

    The recipe's own network if it is a frozen pretrained one, else that of the recipe `folder`. Its features are
    computed if they are not there, for `run` to find. UserError where that cannot be done, or would take too long.
    """
    recipe = frozen(override(loaded.recipe, overrides))
    prepared = prepare(dataclasses.replace(loaded, recipe=recipe), {}, options, say)
    features = Features(prepared)
    obstacle = features.obstacle()
    if obstacle:
        raise UserError(obstacle)
    if is_too_much(prepared):
        n, classes = sum(len(images) for _, images in prepared.splits.items()), len(prepared.splits.classes)
        raise UserError(f"{n:,} images of {classes:,} classes would take too long")
    return suspects_by(features), "the recipe's network" if callable(recipe.model) else recipe.model


def frozen(recipe: Recipe) -> Recipe:
    """The same data with a frozen pretrained network and no augmentation, so that features are computed once."""
    pretrained = recipe.trainable == "head" and recipe.weights is not None
    by = recipe if pretrained else load("folder").recipe
    return dataclasses.replace(
        recipe,
        model=by.model,
        weights=by.weights,
        preprocessing=by.preprocessing,
        image_size=by.image_size,
        **AS_FEATURES,
    )


def suspects_by(features: Features) -> list[Suspect]:
    """Images whose label may be wrong, the least probable first: five logistic regressions, each on the other folds."""
    prepared, splits = features.prepared, features.prepared.splits
    rows = torch.cat([features.vectors(split) for split in NAMES])
    targets = torch.cat([splits[split].targets for split in NAMES])
    probabilities = out_of_fold(rows, targets, prepared.recipe.split_seed)
    places = [(splits[split].sample_id(i), split, i) for split in NAMES for i in range(len(splits[split]))]
    return listed(probabilities, targets, places, splits.classes)


def is_too_much(prepared: Prepared) -> bool:
    """Whether the regressions would take minutes."""
    n, classes = sum(len(images) for _, images in prepared.splits.items()), len(prepared.splits.classes)
    head: Any = find_head(prepared.model)[1]
    return bool(n * head.weight.shape[1] * classes > MOST_WORK)
