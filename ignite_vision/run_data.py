"""A run's images: the folder where they are, and the splits that they make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ignite_vision import datasets
from ignite_vision.data import duplicates
from ignite_vision.data.chosen import chosen, merged
from ignite_vision.data.groups import by_path, refuse_crossing
from ignite_vision.data.manifest import FORMATS, is_manifest, read_manifest
from ignite_vision.data.skipping import unreadable_in, warnings_of, without
from ignite_vision.data.splits import NAMES, Splits, content_hash, cut, fingerprint, sample_digests
from ignite_vision.data.splits_csv import SKIPPED, apply_csv, read_csv
from ignite_vision.errors import BAD_INPUT, UserError
from ignite_vision.recipe import Recipe
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.recipe_values import fold_numbers
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.system.files import data_home

REPLACE_OR_SKIP = "Replace or remove it, or use --set on_bad_image=skip."
CALTECH_FOLDER = "256_ObjectCategories"


def data_folder(loaded: LoadedRecipe, recipe: Recipe, chosen: Path | None, directory: RunDirectory | None) -> Path:
    """Return the folder given by --data or as the recipe itself, else where the images of this run or data set are.

    chosen: --data. directory: --out. UserError if there is nothing at --data, or nobody says where the images are.
    """
    if chosen is not None:
        return existing(chosen)
    if loaded.data is not None:
        return loaded.data
    if directory is not None and directory.exists():
        return recorded_folder(recipe, directory, "resume")
    if recipe.data is datasets.image_folder:
        hint = f"Run: ignite-vision run {loaded.spec} --data DIR"
        raise UserError("this recipe trains on a folder of images", next_step=hint)
    return data_home() / data_set_name(recipe)


def existing(folder: Path) -> Path:
    """Return the folder of --data, absolute. UserError if it is not there."""
    if not folder.exists():
        raise UserError("no such data folder", folder, "Check --data.")
    return folder.resolve()


def recorded_folder(recipe: Recipe, directory: RunDirectory, command: str) -> Path:
    """Return where the images of a run were when it began.

    command: the one to repeat with --data, for the UserError if they are no longer there.
    """
    folder = Path(directory.read_settings()["data"]["folder"])
    if folder.exists():
        return folder
    if folder.name == data_set_name(recipe):  # the default, perhaps of another machine; some data sets need none
        return data_home() / folder.name
    hint = f"Say where: ignite-vision {command} {directory} --data DIR"
    raise UserError("the images of this run are no longer there", folder, hint)


def data_set_name(recipe: Recipe) -> str:
    """Name of the data set's folder: that of the function, or of the torchvision class it stands for."""
    function = getattr(recipe.data, "func", recipe.data)  # of a functools.partial
    return getattr(function, "__name__", type(function).__name__)


def load_data(recipe: Recipe, folder: Path) -> tuple[Splits, str]:
    """(splits before they are cut, the data's name), of the recipe's classes."""
    given, name = read_data(recipe, folder)
    return chosen(merged(given, recipe.merge), recipe.classes, recipe.exclude), name


def load_all(recipe: Recipe, folder: Path) -> tuple[Splits, str]:
    """The same of all classes, merged as far as they are there: other images need not have all of them."""
    given, name = read_data(recipe, folder)
    return merged(given, recipe.merge, strict=False), name


def read_data(recipe: Recipe, folder: Path) -> tuple[Splits, str]:
    """The same as the data has it. A folder of plain class folders serves any built-in recipe."""
    ours = getattr(getattr(recipe.data, "func", recipe.data), "__module__", "") == datasets.__name__
    official = folder.name == CALTECH_FOLDER  # class folders, too, but "027.calculator" is the class "calculator"
    if ours and is_manifest(folder):
        return read_manifest(folder, recipe.group_by), folder.name
    if ours and not official and datasets.is_class_folders(folder):
        return grouped(datasets.image_folder(folder), recipe), folder.name
    if ours and folder.is_file():
        hint = f"Give a folder, or a list of images: {', '.join(FORMATS)}."
        raise UserError("not a folder, nor a manifest", folder, hint)
    try:
        given = recipe.data(folder)
    except OSError as error:
        reason = f"cannot read the data: {error.strerror or error}"
        raise UserError(reason, error.filename or folder, "Make it readable, or pass --data.") from error
    if not isinstance(given, Splits):
        raise UserError(f"the recipe's data function returned {type(given).__name__}, not Splits", folder)
    return grouped(given, recipe), data_set_name(recipe)


def found_again(
    recipe: Recipe, directory: RunDirectory, chosen: Path | None, command: str, say: Callable[[str], None]
) -> tuple[Splits, Path]:
    """(a run's images before they are cut, where they are now). chosen: --data of the command. say: told the notes."""
    folder = existing(chosen) if chosen else recorded_folder(recipe, directory, command)
    given, _ = load_data(recipe, folder)
    for note in given.notes:
        say(f"warning: {note}")
    return given, folder


def grouped(given: Splits, recipe: Recipe) -> Splits:
    """The same with groups by the recipe's rule on paths, if it has one."""
    return given if recipe.group_by is None else by_path(given, recipe.group_by)


def own_splits(given: Splits, directory: RunDirectory, settings: dict[str, Any]) -> Splits | None:
    """A run's splits of these images, if they are its own: by names, labels, sizes and the content of some.

    given: of the run's classes, or, where it chose some, of all.
    """
    recipe = settings["recipe"]
    some = recipe.get("classes") or recipe.get("exclude")
    try:
        splits = apply_csv(chosen(given, settings["classes"] if some else None, None), directory.splits)
    except UserError:
        return None
    data = settings["data"]
    same = fingerprint(splits) == data["fingerprint"] and sample_digests(splits) == data["sample"]
    return splits if same and data["content"] in (None, content_hash(splits)) else None


def split(recipe: Recipe, given: Splits, directory: RunDirectory, say: Callable[[str], None]) -> Splits:
    """Cut what the data set does not give; a run that exists has its splits written down, and keeps them.

    Of several processes all must call this. Those that do not see the run's directory, on another machine, cut again.
    """
    if recipe.on_bad_image == "skip":
        given = without_unreadable(given, directory, say)
    cutting = any(distributed.gather(not directory.exists()))
    alike = distributed.from_first(lambda: duplicates_of(recipe, given, say)) if cutting else None
    if directory.exists():
        refuse_other_classes(recipe, directory)
        splits = restored_splits(given, directory)
    else:
        splits = cut_anew(recipe, given, alike, say)
    for name in NAMES:
        if not len(splits[name]):
            raise UserError(
                f"no images for {name}: the data has {len(splits.train)} for training",
                next_step="Add images, or raise val_fraction and test_fraction.",
            )
    read_one_per_class(splits, new=not directory.exists())
    return splits


def without_unreadable(given: Splits, directory: RunDirectory, say: Callable[[str], None]) -> Splits:
    """The same without images that cannot be read: of a run that exists those of splits.csv, else found now, and said.

    Processes share the work, and leave out what any of them cannot read. All must call this.
    """
    known = distributed.from_first(lambda: recorded_as_skipped(directory) if directory.exists() else None)
    if known is not None:
        return without(given, known)
    shares = distributed.gather(unreadable_in(given, distributed.rank(), distributed.count()))
    reasons = {key: reason for share in shares for key, reason in share.items()}
    for line in warnings_of(given, reasons):
        say(line)
    return without(given, reasons)


def recorded_as_skipped(directory: RunDirectory) -> list[tuple[str, str]]:
    """(id, class) of images that a run skipped when it began."""
    return [(sample, label) for sample, label, split, _ in read_csv(directory.splits) if split == SKIPPED]


def refuse_other_classes(recipe: Recipe, directory: RunDirectory) -> None:
    """UserError if a run began with other chosen classes: its images would seem to be gone, or new."""
    before = directory.read_settings()["recipe"]
    for name in ("classes", "exclude", "merge"):
        old, new = before.get(name), json.loads(json.dumps(getattr(recipe, name)))
        if old != new:
            what = f"this run began with another recipe: {name}: {old!r} -> {new!r}"
            raise UserError(what, directory.path, "Undo that, or choose another --out.")


def cut_anew(recipe: Recipe, given: Splits, alike: torch.Tensor | None, say: Callable[[str], None]) -> Splits:
    """Cut by groups and folds as the recipe says, with near-duplicates together, and say how many that moved.

    alike: (N,) int64 over train, the numbers of near-duplicates; None where they are not looked for.
    """
    refuse_crossing(given)
    fold = fold_numbers(recipe.fold) if recipe.fold else None
    how = (recipe.val_fraction, recipe.test_fraction, recipe.split_seed, fold)
    plain = cut(given, *how)
    if alike is None:
        return plain
    try:
        splits = cut(given, *how, alike)
    except UserError:
        say("note: near-duplicates are not kept together: there are too few different images")
        return plain
    moved = sum(int(torch.isin(plain[name].index, splits.train.index).sum()) for name in cut_here(given))
    if moved and not recipe.fold and given.train.groups is None:
        say(f"note: {moved:,} images moved to train, so that near-duplicates of them are not in val or test")
    return splits


def cut_here(given: Splits) -> list[str]:
    """Which of val and test the data does not give."""
    return [name for name in ("val", "test") if given[name] is None]


def duplicates_of(recipe: Recipe, given: Splits, say: Callable[[str], None]) -> torch.Tensor | None:
    """Numbers of near-duplicates where the recipe wants them together and there is something to cut, else None."""
    if not (recipe.group_duplicates and given.keep_duplicates_together and cut_here(given)):
        return None
    if len(given.train) > duplicates.MOST:
        say(f"note: near-duplicates may be on two sides: not looked for among more than {duplicates.MOST:,} images")
        return None
    return duplicates.clusters(given.train, say)


def restored_splits(given: Splits, directory: RunDirectory) -> Splits:
    """The splits of a run that exists. UserError if images vanished or appeared, with every way on."""
    try:
        return apply_csv(given, directory.splits)
    except UserError as error:
        if not directory.model.is_file():
            raise
        hint = f"{error.next_step} Its model can be evaluated: ignite-vision evaluate {directory} --data DIR"
        raise UserError(error.what, error.path, hint, error.code) from error


def read_one_per_class(splits: Splits, new: bool) -> None:
    """Decode one training image of each class: a folder of unreadable files is found out now, not in epoch 1.

    new: whether the run may still leave them out.
    """
    if not splits.train.costly:
        return
    seen: set[int] = set()
    for i, target in enumerate(splits.train.targets.tolist()):
        if target not in seen:
            seen.add(target)
            try:
                splits.train[i]
            except UserError as error:
                if not (new and error.code == BAD_INPUT):
                    raise
                raise UserError(error.what, error.path, REPLACE_OR_SKIP) from error
