"""From a recipe and the command's options to everything that training needs, with nothing trained or written yet."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ignite_vision import models
from ignite_vision.data.balance import class_weights
from ignite_vision.data.preprocessing import SCALED, WHOLE, Canvas, Preprocessing, Size, pair, plain
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError
from ignite_vision.identity import digest
from ignite_vision.models.head import freeze
from ignite_vision.models.state import plain_extra
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe import Recipe, is_changed, override
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.run_data import data_folder, load_data, own_splits, split
from ignite_vision.run_directory import FORMAT_VERSION, RunDirectory
from ignite_vision.system import device as devices
from ignite_vision.system import distributed
from ignite_vision.system.files import runs_home
from ignite_vision.system.nvidia import look_for_nvidia, unused_gpu
from ignite_vision.system.process import make_deterministic, processors

# Without pretrained weights images are mapped from [0, 1] to [-1, 1]: ImageNet's statistics mean nothing there.
HALF = 0.5
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
    budget: float | None = None
    """Seconds for everything, with the evaluation; as many epochs are planned as fit."""
    began: float = dataclasses.field(default_factory=time.monotonic, compare=False)
    """When the command began: time.monotonic()."""


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
    class_weights: torch.Tensor | None
    """Of the training loss, (C,) float32; None: all classes weigh the same."""
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
    origin: models.Origin | None
    """Where the pretrained weights come from, and their licence."""
    reading: Reading
    say: Say
    """Print a line of progress or a warning, in process 0."""


def prepare(loaded: LoadedRecipe, overrides: dict[str, str], options: Options, say: Say) -> Prepared:
    """Build data, model and preprocessing. overrides: recipe field -> text, as `--set` has them."""
    recipe = override(loaded.recipe, overrides)
    device = pick_device(options.device, say)
    data = data_folder(loaded, recipe, options.data, RunDirectory(options.out) if options.out else None)
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
    recipe, overrides = with_place_of_weights(recipe, overrides)
    precision = settle_arithmetic(recipe, options, directory, device)
    splits = split(recipe, given, directory, say)
    if splits.train.weights is not None and is_changed(recipe, "loss"):
        hint = "Leave the column out, and give the loss its weights itself."
        raise UserError("the manifest has weights, and the recipe has its own loss", data, hint)
    weights_of_classes = class_weights(recipe.class_weights, splits.train.targets, splits.classes)
    preprocessing = dataclasses.replace(preprocessing_of(recipe, splits), reader=reader_of(directory, splits))
    model = network_of(recipe, len(splits.classes), device, preprocessing.crop)
    return Prepared(
        loaded=loaded,
        recipe=recipe,
        overrides=overrides,
        options=options,
        directory=directory,
        data=data,
        splits=splits,
        class_weights=weights_of_classes,
        preprocessing=preprocessing,
        canvas=canvas_of(recipe, preprocessing),
        device=device,
        precision=precision,
        frozen=freeze(model, recipe.trainable),
        # channels_last: the layout in which both CPUs and GPUs convolve fastest
        model=model.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        weights=weights,
        origin=models.origin_of(recipe.model, recipe.weights),
        reading=reading_for(device, options.workers, splits.train.thread_safe, say),
        say=say,
    )


def with_place_of_weights(recipe: Recipe, overrides: dict[str, str]) -> tuple[Recipe, dict[str, str]]:
    """The same with the absolute path of a file of weights: `resume` may be called in another folder."""
    if recipe.weights is None:
        return recipe, overrides
    place = models.with_absolute_paths(recipe.model, recipe.weights)
    if place == recipe.weights:
        return recipe, overrides
    return dataclasses.replace(recipe, weights=place), {**overrides, "weights": place}


def settle_arithmetic(recipe: Recipe, options: Options, directory: RunDirectory, device: torch.device) -> str:
    """Return the precision, the same in all processes, and have torch compute deterministically where that is asked.

    What an earlier command began this run in stays, whatever `auto` means on this machine.
    """
    before = directory.read_settings()["environment"] if directory.exists() else {}
    wanted = before.get("precision", recipe.precision)
    precision = distributed.from_first(lambda: devices.pick_precision(wanted, device))
    if options.deterministic or before.get("deterministic"):
        make_deterministic()
    return precision


def reader_of(directory: RunDirectory, splits: Splits) -> int:
    """How files become pixels: as when the run began, whatever the version; process 0 knows."""

    def recorded() -> int | None:
        return directory.read_settings()["preprocessing"].get("reader", WHOLE) if directory.exists() else None

    return distributed.from_first(recorded) or (SCALED if splits.train.scales else WHOLE)


def network_of(recipe: Recipe, num_classes: int, device: torch.device, image_size: int) -> nn.Module:
    """Build the network with the recipe's seed. UserError for what could not be published, or not be trained so.

    image_size: pixels per side of its images, for a network that is built for one size.
    """
    if recipe.trainable != "head" and models.is_composed(recipe.model):
        what = f"several networks side by side train their head alone, not '{recipe.trainable}'"
        raise UserError(what, next_step="Use --set trainable=head.")
    seed_everything(recipe.seed, Purpose.INIT)
    model = models.build(recipe.model, num_classes, recipe.weights, image_size=image_size)
    plain_extra(model.state_dict())  # refused now, not after the last epoch
    if recipe.sync_bn and distributed.count() > 1:
        if device.type != "cuda":
            raise UserError("sync_bn needs GPUs", next_step="Use --set sync_bn=false, or --device cuda.")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def canvas_of(recipe: Recipe, preprocessing: Preprocessing) -> Canvas:
    """Without augmentation only the centre crop is ever seen; a random crop needs what lies around it."""
    return Canvas(preprocessing, plain(preprocessing.box if recipe.augment else preprocessing.size))


def reading_for(device: torch.device, workers: int | None, threads: bool, say: Say) -> Reading:
    """How to read: with `workers` processes, or one per processor but no more than eight.

    threads: whether threads of this process read the images. On a CPU there are no workers then: nothing is gained by
    a process that waits for the same processors but pays for its copy of the memory (features of DenseNet-121: 37 s
    instead of 27).
    """
    if workers is None:
        workers = 0 if device.type == "cpu" and threads else min(processors(), MOST_WORKERS)
    return Reading(device, workers, functools.cache(say))


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


def pick_device(name: str, say: Say) -> torch.device:
    """The device to use, and a line when `auto` has to leave an NVIDIA GPU idle."""
    device = devices.pick_device(name)
    idle = unused_gpu(look_for_nvidia()) if name == "auto" else None
    if idle:
        say(f"warning: training on the CPU, although a GPU seems to be here: {idle}")
    return device


def preprocessing_of(recipe: Recipe, splits: Splits) -> Preprocessing:
    """Choose what the model sees: the recipe's preprocessing, else the weights', else the data's own size.

    Whatever it is, it has the channels and at least the size that the model demands, and `image_size` and `fit` if set.
    UserError for an image_size that the model is not built for.
    """
    demands = models.input_of(recipe.model, recipe.weights)
    chosen = recipe.preprocessing
    if chosen is None and recipe.weights is not None and isinstance(recipe.model, str):
        chosen = models.weights_preprocessing(recipe.model, recipe.weights)
    if chosen is None:
        chosen = from_data(splits)
    if demands.channels is not None and demands.channels != chosen.channels:
        chosen = with_channels(chosen, demands.channels)
    if recipe.fit is not None:
        chosen = with_fit(chosen, recipe.fit)
    return with_size(chosen, size_of(recipe, chosen, demands))


def size_of(recipe: Recipe, chosen: Preprocessing, demands: models.InputSpec) -> Size:
    """(height, width) that the model sees. UserError for an image_size that it is not built for."""
    height, width = pair(recipe.image_size or plain(chosen.size))
    if demands.size is None:
        return max(height, demands.minimum), max(width, demands.minimum)
    if recipe.image_size and height != width:
        what = f"{recipe.model} is built for square images, and image_size is {height}x{width}"
        raise UserError(what, next_step=f"Use one number, or leave it out: {demands.size}.")
    if recipe.image_size and demands.resizable:
        return height, width
    if recipe.image_size and height != demands.size:
        what = f"{recipe.model} is built for images of {demands.size} pixels, and image_size is {height}"
        raise UserError(what, next_step=f"Leave it out, or set it to {demands.size}.")
    return demands.size, demands.size


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


def with_size(preprocessing: Preprocessing, size: Size) -> Preprocessing:
    """The same for images of (height, width), with as much cut away around it in proportion."""
    if size == preprocessing.size:
        return preprocessing
    crop = min(size)
    resize = round(crop * preprocessing.resize / preprocessing.crop)
    return dataclasses.replace(preprocessing, crop=crop, resize=resize, shape=size)


def with_fit(preprocessing: Preprocessing, fit: str) -> Preprocessing:
    """The same with another fit: all of an image is seen by pad and squash, so nothing is cut away around it."""
    resize = preprocessing.resize if fit == "crop" else preprocessing.crop
    return dataclasses.replace(preprocessing, fit=fit, resize=resize)
