"""From a recipe and the command's options to everything that training needs, with nothing trained or written yet."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_vision import datasets, models
from ignite_vision.data.preprocessing import Canvas, Preprocessing
from ignite_vision.data.splits import NAMES, Splits, cut, fingerprint
from ignite_vision.data.splits_csv import apply_csv
from ignite_vision.errors import UserError
from ignite_vision.identity import digest
from ignite_vision.models.head import freeze
from ignite_vision.models.state import plain_extra
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.run_directory import FORMAT_VERSION, RunDirectory
from ignite_vision.system import device as devices
from ignite_vision.system import distributed
from ignite_vision.system.files import data_home, runs_home
from ignite_vision.system.nvidia import look_for_nvidia, unused_gpu
from ignite_vision.system.process import make_deterministic

# Without pretrained weights images are mapped from [0, 1] to [-1, 1]: ImageNet's statistics mean nothing there.
HALF = 0.5
CALTECH_FOLDER = "256_ObjectCategories"
DEFAULT_RESIZE, DEFAULT_CROP = 256, 224  # pixels, for photographs of many sizes (He et al. 2016)
MOST_WORKERS = 8  # decoding is shared, the step takes the rest

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a command adds to a recipe without changing its result. None: the default."""

    data: Path | None = None
    out: Path | None = None
    device: str = "auto"
    workers: int | None = None
    checkpoint_every: int | None = None
    keep_checkpoints: int = 2
    deterministic: bool = False
    verify_data: bool = False


@dataclasses.dataclass(frozen=True)
class Reading:
    """How batches are read: for which device, by how many workers, and whom to tell when there is no room for them."""

    device: torch.device
    workers: int
    say: Say

    @property
    def on_gpu(self) -> bool:
        """Whether batches go to a GPU."""
        return self.device.type == "cuda"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A recipe with everything that follows from it, the command and the machine. Loading and training take this."""

    loaded: LoadedRecipe
    recipe: Recipe
    """With the command's overrides."""
    overrides: dict[str, str]
    options: Options
    directory: RunDirectory
    data: Path
    splits: Splits
    preprocessing: Preprocessing
    canvas: Canvas
    device: torch.device
    precision: str
    model: nn.Module
    """On the device, in channels_last; what does not train has no gradients."""
    frozen: list[nn.Module]
    """Modules that stay in eval mode during training."""
    weights: str | None
    """Hash of the pretrained weights' content, or what says which published ones they are."""
    reading: Reading
    say: Say
    """Print a line of progress or a warning, in process 0."""


def prepare(loaded: LoadedRecipe, overrides: dict[str, str], options: Options, say: Say) -> Prepared:
    """Build data, model and preprocessing. overrides: recipe field -> text, as `--set` has them."""
    recipe = override(loaded.recipe, overrides)
    device = pick_device(options.device, say)
    data = data_folder(loaded, recipe, options)
    given, data_name = load_data(recipe, data)
    for note in given.notes:
        say(f"warning: {note}")
    weights = models.weights_content(recipe.model, recipe.weights)
    if options.out is not None:
        directory = RunDirectory(options.out)
    else:
        digest_of = functools.partial(digest, recipe, weights_content=weights)
        directory = default_directory(loaded, digest_of, given, data_name, data, say)
        if not directory.exists():
            refuse_old_format(loaded, overrides)
    before = recorded_environment(directory)
    precision = distributed.from_first(
        lambda: devices.pick_precision(before.get("precision", recipe.precision), device)
    )
    if options.deterministic or before.get("deterministic"):
        make_deterministic()
    splits = split(recipe, given, directory)
    preprocessing = preprocessing_of(recipe, splits)
    seed_everything(recipe.seed, Purpose.INIT)
    model = models.build(recipe.model, len(splits.classes), recipe.weights)
    plain_extra(model.state_dict())  # what could not be published is refused now, not after the last epoch
    if recipe.sync_bn and distributed.count() > 1:
        if device.type != "cuda":
            raise UserError("sync_bn needs GPUs", next_step="Use --set sync_bn=false, or --device cuda.")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return Prepared(
        loaded=loaded,
        recipe=recipe,
        overrides=overrides,
        options=options,
        directory=directory,
        data=data,
        splits=splits,
        preprocessing=preprocessing,
        canvas=canvas_of(recipe, preprocessing),
        device=device,
        precision=precision,
        frozen=freeze(model, recipe.trainable),
        # channels_last: the layout in which both CPUs and GPUs convolve fastest
        model=model.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        weights=weights,
        reading=reading_for(device, options.workers, splits.train.thread_safe, say),
        say=say,
    )


def canvas_of(recipe: Recipe, preprocessing: Preprocessing) -> Canvas:
    """Without augmentation only the centre crop is ever seen; a random crop needs what lies around it."""
    return Canvas(preprocessing, preprocessing.resize if recipe.augment else preprocessing.crop)


def reading_for(device: torch.device, workers: int | None, threads: bool, say: Say) -> Reading:
    """How to read: with `workers` processes, or one per processor but no more than eight.

    threads: whether threads of this process read the images. On a CPU there are no workers then: nothing is gained by
    a process that waits for the same processors but pays for its copy of the memory (features of DenseNet-121: 37 s
    instead of 27).
    """
    if workers is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = 0 if device.type == "cpu" and threads else min(processors, MOST_WORKERS)
    return Reading(device, workers, once(say))


def once(say: Say) -> Say:
    """Say a line only the first time: the loaders of one run have the same obstacle."""
    said: set[str] = set()

    def say_new(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_new


def default_directory(
    loaded: LoadedRecipe, digest_of: Callable[[str], str], given: Splits, name: str, data: Path, say: Say
) -> RunDirectory:
    """`runs/<recipe>-<6 hex>`: the same command finds its run again, another learning rate gets another.

    digest_of: the data's name -> the hex digits. A run of that name on other images stays as it is: this one gets the
    folder's path into its digits.
    """
    directory = RunDirectory(runs_home() / f"{loaded.name}-{digest_of(name)}")
    if not directory.exists():
        return directory
    settings = directory.read_settings()
    if settings["data"]["folder"] == str(data) or own_splits(given, directory, settings) is not None:
        return directory
    other = RunDirectory(runs_home() / f"{loaded.name}-{digest_of(f'{name} in {data}')}")
    say(f"note: {directory} belongs to other images, in {settings['data']['folder']}; this run is {other}")
    return other


def refuse_old_format(loaded: LoadedRecipe, overrides: dict[str, str]) -> None:
    """UserError if an earlier version began this command's run: it would be started again beside it."""
    for path in sorted(runs_home().glob(f"{loaded.name}-*/run.json")):
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            old = settings["format_version"] < FORMAT_VERSION and settings["spec"] == loaded.spec
            same = _without_epochs(settings["overrides"]) == _without_epochs(overrides)
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if old and same:
            hint = "Move it away to train again, choose another --out, or resume it with the version that made it."
            raise UserError("an earlier version of ignite-vision began this run", path.parent, hint)


def _without_epochs(overrides: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in overrides.items() if name != "epochs"}


def own_splits(given: Splits, directory: RunDirectory, settings: dict[str, Any]) -> Splits | None:
    """A run's splits of these images, if they are its own: by names, labels, sizes and the content of some."""
    try:
        splits = apply_csv(given, directory.splits)
    except UserError:
        return None
    data = settings["data"]
    same = fingerprint(splits) == data["fingerprint"] and splits.train.sample_digest() == data["sample"]
    return splits if same else None


def pick_device(name: str, say: Say) -> torch.device:
    """The device to use, and a line when `auto` has to leave an NVIDIA GPU idle."""
    device = devices.pick_device(name)
    idle = unused_gpu(look_for_nvidia()) if name == "auto" else None
    if idle:
        say(f"warning: training on the CPU, although a GPU seems to be here: {idle}")
    return device


def recorded_environment(directory: RunDirectory) -> dict[str, Any]:
    """What an earlier command began this run in: its precision stays, whatever `auto` means on this machine."""
    return dict(directory.read_settings()["environment"]) if directory.exists() else {}


def data_folder(loaded: LoadedRecipe, recipe: Recipe, options: Options) -> Path:
    """Return the folder given by --data or as the recipe itself, else the data set's own below the data home."""
    if options.data is not None:
        if not options.data.exists():
            raise UserError("no such data folder", options.data, "Check --data.")
        return options.data.resolve()
    if loaded.data is not None:
        return loaded.data
    if recipe.data is datasets.image_folder:
        raise UserError(
            "this recipe trains on a folder of images",
            next_step=f"Run: ignite-vision run {loaded.spec} --data DIR",
        )
    return data_home() / data_set_name(recipe)


def data_set_name(recipe: Recipe) -> str:
    """Name of the data set's folder: that of the function, or of the torchvision class it stands for."""
    function = getattr(recipe.data, "func", recipe.data)  # of a functools.partial
    return getattr(function, "__name__", type(function).__name__)


def load_data(recipe: Recipe, folder: Path) -> tuple[Splits, str]:
    """(splits before they are cut, the data's name). A folder of plain class folders serves any built-in recipe."""
    ours = getattr(getattr(recipe.data, "func", recipe.data), "__module__", "") == datasets.__name__
    official = folder.name == CALTECH_FOLDER  # class folders, too, but "027.calculator" is the class "calculator"
    if ours and not official and datasets.is_class_folders(folder):
        return datasets.image_folder(folder), folder.name
    try:
        given = recipe.data(folder)
    except OSError as error:
        reason = f"cannot read the data: {error.strerror or error}"
        raise UserError(reason, error.filename or folder, "Make it readable, or pass --data.") from error
    if not isinstance(given, Splits):
        raise UserError(f"the recipe's data function returned {type(given).__name__}, not Splits", folder)
    return given, data_set_name(recipe)


def split(recipe: Recipe, given: Splits, directory: RunDirectory) -> Splits:
    """Cut what the data set does not give; a run that exists has its splits written down, and keeps them."""
    if directory.exists():
        splits = apply_csv(given, directory.splits)
    else:
        splits = cut(given, recipe.val_fraction, recipe.test_fraction, recipe.split_seed)
    for name in NAMES:
        if not len(splits[name]):
            raise UserError(
                f"no images for {name}: the data has {len(splits.train)} for training",
                next_step="Add images, or raise val_fraction and test_fraction.",
            )
    read_one_per_class(splits)
    return splits


def read_one_per_class(splits: Splits) -> None:
    """Decode one training image of each class: a folder of unreadable files is noticed now, not in epoch 1."""
    if not splits.train.costly:
        return
    seen: set[int] = set()
    for i, target in enumerate(splits.train.targets.tolist()):
        if target not in seen:
            seen.add(target)
            splits.train[i]


def preprocessing_of(recipe: Recipe, splits: Splits) -> Preprocessing:
    """Choose what the model sees: the recipe's preprocessing, else the weights', else the data's own size.

    Whatever it is, it has the channels and at least the size that the model demands, and `image_size` if set.
    """
    demands = models.input_of(recipe.model, recipe.weights)
    chosen = recipe.preprocessing
    if chosen is None and recipe.weights is not None and isinstance(recipe.model, str):
        chosen = models.weights_preprocessing(recipe.model, recipe.weights)
    if chosen is None:
        chosen = from_data(splits)
    if demands.channels is not None and demands.channels != chosen.channels:
        chosen = with_channels(chosen, demands.channels)
    size = demands.size or max(recipe.image_size or chosen.crop, demands.minimum)
    return with_size(chosen, size)


def from_data(splits: Splits) -> Preprocessing:
    """The data's own size if its images are all alike and square, else 256 cut to 224; mapped to [-1, 1]."""
    channels, height, width = splits.train[0][0].shape
    resize = crop = min(height, width)
    if splits.train.pixels() is None and not same_sizes(splits, (height, width)):
        resize, crop = DEFAULT_RESIZE, DEFAULT_CROP
    half = (HALF,) * channels
    return Preprocessing(channels=channels, resize=resize, crop=crop, interpolation="bilinear", mean=half, std=half)


def same_sizes(splits: Splits, size: tuple[int, int], look_at: int = 32) -> bool:
    """Whether up to `look_at` training images, spread over the split, all have this (height, width)."""
    step = max(1, len(splits.train) // look_at)
    return all(tuple(splits.train[i][0].shape[1:]) == size for i in range(0, len(splits.train), step))


def with_channels(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same for another number of channels; grey takes the mean over RGB."""

    def spread(values: tuple[float, ...]) -> tuple[float, ...]:
        return (sum(values) / len(values),) * channels

    return dataclasses.replace(
        preprocessing, channels=channels, mean=spread(preprocessing.mean), std=spread(preprocessing.std)
    )


def with_size(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """The same at another crop, with as much cut away around it in proportion."""
    if size == preprocessing.crop:
        return preprocessing
    resize = round(size * preprocessing.resize / preprocessing.crop)
    return dataclasses.replace(preprocessing, crop=size, resize=resize)
