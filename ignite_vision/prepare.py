"""From a recipe and the command's options to a Run with everything built, and nothing trained or written yet."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ignite_vision import datasets, models
from ignite_vision.data.containers import ArrayImages, ImageFiles
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.data.splits import Splits, cut
from ignite_vision.data.splits_csv import apply_csv
from ignite_vision.errors import UserError
from ignite_vision.loading.sources import canvas_of
from ignite_vision.loading.workers import default_workers
from ignite_vision.models.head import freeze
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.run_directory import default_directory, is_run, read_settings
from ignite_vision.system import device as device_module
from ignite_vision.system import distributed
from ignite_vision.system.files import data_home
from ignite_vision.system.nvidia import look_for_nvidia, unused_gpu
from ignite_vision.training.history import History
from ignite_vision.training.run import Run

# Without pretrained weights images are mapped from [0, 1] to [-1, 1]: ImageNet's statistics mean nothing there.
HALF = 0.5
CALTECH_FOLDER = "256_ObjectCategories"
DEFAULT_RESIZE, DEFAULT_CROP = 256, 224  # pixels, for photographs of many sizes (He et al. 2016)


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


def prepare(
    loaded: LoadedRecipe, overrides: dict[str, str], options: Options, say: Callable[[str], None], load: bool = True
) -> Run:
    """Build data, model and preprocessing. overrides: recipe field -> text, as `--set` has them.

    load: read the pretrained weights; not needed, nor perhaps there, where a trained model takes their place.
    """
    recipe = override(loaded.recipe, overrides)
    device = pick_device(options.device, say)
    data = data_folder(loaded, recipe, options)
    given, data_name = load_data(recipe, data)
    directory = options.out or default_directory(loaded, recipe, data_name)
    before = recorded_environment(directory)
    precision = distributed.agree(
        lambda: device_module.pick_precision(before.get("precision", recipe.precision), device)
    )
    if options.deterministic or before.get("deterministic"):
        device_module.make_deterministic()
    splits = split(recipe, given, directory)
    preprocessing = preprocessing_of(recipe, splits)
    seed_everything(recipe.seed, Purpose.INIT)
    model = models.build(recipe.model, len(splits.classes), recipe.weights, load)
    if recipe.sync_bn and distributed.count() > 1:
        if device.type != "cuda":
            raise UserError("sync_bn needs GPUs", next_step="Use --set sync_bn=false, or --device cuda.")
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    frozen = freeze(model, recipe.trainable)
    return Run(
        loaded=loaded,
        recipe=recipe,
        overrides=overrides,
        directory=directory,
        data=data,
        splits=splits,
        preprocessing=preprocessing,
        canvas=canvas_of(recipe, preprocessing),
        device=device,
        precision=precision,
        workers=default_workers(device, splits.train) if options.workers is None else options.workers,
        checkpoint_every=options.checkpoint_every,
        keep_checkpoints=options.keep_checkpoints,
        verify_data=options.verify_data,
        # channels_last: the layout in which both CPUs and GPUs convolve fastest
        model=model.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        frozen=frozen,
        history=History(directory / "history.jsonl"),
        say=say,
    )


def pick_device(name: str, say: Callable[[str], None]) -> torch.device:
    """The device to use, and a line when `auto` has to leave an NVIDIA GPU idle."""
    device = device_module.pick_device(name)
    idle = unused_gpu(look_for_nvidia()) if name == "auto" else None
    if idle:
        say(f"warning: on the CPU: {idle}")
    return device


def recorded_environment(directory: Path) -> dict[str, Any]:
    """What an earlier command began this run in: its precision stays, whatever `auto` means on this machine."""
    return dict(read_settings(directory)["environment"]) if is_run(directory) else {}


def data_folder(loaded: LoadedRecipe, recipe: Recipe, options: Options) -> Path:
    """Return the folder given by --data or as the recipe itself, else the data set's own below the data home."""
    if options.data is not None:
        if not options.data.exists():
            raise UserError("no such data folder", options.data, "Look at --data.")
        return options.data.resolve()
    if loaded.data is not None:
        return loaded.data
    if recipe.data is datasets.image_folder:
        raise UserError(
            "this recipe trains on a folder of images",
            next_step=f"ignite-vision run {loaded.spec} --data DIR",
        )
    return data_home() / data_set_name(recipe)


def data_set_name(recipe: Recipe) -> str:
    """Name of the data set's folder: that of the function, or of the torchvision class it stands for."""
    data = recipe.data
    if isinstance(data, functools.partial):
        return str(data.args[0]).lower() if data.args else data.func.__name__
    return getattr(data, "__name__", type(data).__name__)


def load_data(recipe: Recipe, folder: Path) -> tuple[Splits, str]:
    """(splits before they are cut, the data's name). A folder of plain class folders serves any built-in recipe."""
    ours = getattr(getattr(recipe.data, "func", recipe.data), "__module__", "") == datasets.__name__
    official = folder.name == CALTECH_FOLDER  # class folders, too, but "027.calculator" is the class "calculator"
    if ours and not official and folder.is_dir() and datasets.is_class_folders(folder):
        return datasets.image_folder(folder), folder.name
    given = recipe.data(folder)
    if not isinstance(given, Splits):
        raise UserError(f"the recipe's data function returned {type(given).__name__}, not Splits", folder)
    return given, data_set_name(recipe)


def split(recipe: Recipe, given: Splits, directory: Path) -> Splits:
    """Cut what the data set does not give; a run that exists has its splits written down, and keeps them."""
    written = directory / "splits.csv"
    if is_run(directory) and written.exists():
        splits = apply_csv(given, written)
    else:
        splits = cut(given, recipe.val_fraction, recipe.test_fraction, recipe.split_seed)
    for name in ("train", "val", "test"):
        if not len(getattr(splits, name)):
            raise UserError(
                f"no images for {name}: the data has {len(splits.train)} for training",
                next_step="Add images, or raise val_fraction and test_fraction.",
            )
    read_one_per_class(splits)
    return splits


def read_one_per_class(splits: Splits) -> None:
    """Decode one training image of each class: a folder of unreadable files is found out now, not in epoch 1."""
    if not isinstance(splits.train, ImageFiles):
        return
    seen: set[int] = set()
    for i, target in enumerate(splits.train.targets.tolist()):
        if target not in seen:
            seen.add(target)
            splits.train[i]


def preprocessing_of(recipe: Recipe, splits: Splits) -> Preprocessing:
    """Settle what the model sees: the recipe's word, else the weights', else the data's own size.

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
    if not isinstance(splits.train, ArrayImages) and not same_sizes(splits, (height, width)):
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
