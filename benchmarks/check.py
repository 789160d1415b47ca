"""What `check` finds of faults that were planted, and where there are none: `python -m benchmarks.check`.

    python -m benchmarks.check [--sets stanford_dogs,imagenet_val_20x50,caltech101_25] [--each 20] [--only faults]

Real images are read from IGNITE_VISION_TEST_DATA. The thresholds were chosen with these same photographs in
view, so what is found untouched is no surprise; the faults are planted with a seed that nothing was chosen with.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.predict import anonymous_memory
from ignite_vision import datasets
from ignite_vision.data.images import read_image
from ignite_vision.data.splits import cut
from ignite_vision.health.collection import Collection
from ignite_vision.health.duplicates import Pairs, find_pairs, twins_in_train
from ignite_vision.health.faults import masks
from ignite_vision.health.records import Records
from ignite_vision.health.scan import scan
from ignite_vision.health.shortcuts import shortcuts
from ignite_vision.system.process import processors

SEED = 2027
CLASSES, EACH_CLASS = 8, 30  # of the folders in which shortcuts are planted

Bytes = Callable[[bytes, np.random.Generator], bytes]
Change = Callable[[Image.Image], Image.Image]


def quiet(_line: str) -> None:
    """Say nothing."""


def strip(image: Image.Image) -> Image.Image:
    """The middle fifth of the height, over the whole width and more: 5:1 or longer."""
    wide = image.width
    return image.crop((0, image.height // 2, wide, image.height // 2 + max(1, wide // 5)))


def twelve_bits(image: Image.Image) -> Image.Image:
    """12 bits in 16, as cameras and scanners write them."""
    return Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) << 4)


def blur(radius: float) -> Change:
    """Gaussian blur of an image whose short side is 256 pixels."""

    def change(image: Image.Image) -> Image.Image:
        scale = min(image.size) / 256
        return image.filter(ImageFilter.GaussianBlur(radius * scale))

    return change


def brightness(factor: float) -> Change:
    """Multiply all values."""
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def cropped(share: float) -> Change:
    """Without this share of each side."""
    return lambda image: image.crop(
        (
            round(image.width * share),
            round(image.height * share),
            round(image.width * (1 - share)),
            round(image.height * (1 - share)),
        )
    )


def zeroed(data: bytes, _random: np.random.Generator) -> bytes:
    """512 bytes in the middle are 0: a block of a disk."""
    middle = len(data) // 2
    return data[:middle] + bytes(512) + data[middle + 512 :]


def scattered(data: bytes, random: np.random.Generator) -> bytes:
    """40 random bytes in the middle."""
    middle = len(data) // 2
    return data[:middle] + random.bytes(40) + data[middle + 40 :]


def bomb(_data: bytes, _random: np.random.Generator) -> bytes:
    """A PNG of 20,000 x 20,000 pixels."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


BROKEN: dict[str, tuple[str, str, Bytes]] = {  # name -> kind, suffix, how
    "cut off at two thirds": ("unreadable", ".jpg", lambda data, _: data[: len(data) * 2 // 3]),
    "50 bytes short": ("unreadable", ".jpg", lambda data, _: data[:-50]),
    "empty": ("unreadable", ".jpg", lambda *_: b""),
    "a web page": ("unreadable", ".jpg", lambda *_: b"<!DOCTYPE html><html><body>404</body></html>"),
    "20,000 x 20,000 pixels": ("unreadable", ".png", bomb),
    "512 bytes missing inside": (
        "damaged",
        ".jpg",
        lambda data, _: data[: len(data) // 2] + data[len(data) // 2 + 512 :],
    ),
    "512 bytes inside are 0": ("damaged", ".jpg", zeroed),
    "40 random bytes inside": ("damaged", ".jpg", scattered),
}
CHANGED: dict[str, tuple[str, str, Change]] = {
    "a PNG called .jpg": ("extension", ".jpg", lambda image: image),
    "24 pixels high": ("tiny", ".png", lambda image: image.resize((24 * image.width // image.height + 1, 24))),
    "5:1": ("aspect", ".png", strip),
    "brightness x 0.15": ("dark", ".png", brightness(0.15)),
    "brightness x 0.3": ("dark", ".png", brightness(0.3)),
    "one colour": ("blank", ".png", lambda image: Image.new("RGB", image.size, "orange")),
    "blurred, r = 3": ("blurred", ".png", blur(3)),
    "blurred, r = 2": ("blurred", ".png", blur(2)),
    "blurred, r = 1": ("blurred", ".png", blur(1)),
    "12 bits in 16": ("half_used", ".png", twelve_bits),
}
COPIES: dict[str, Change] = {
    "recompressed, quality 30": lambda image: recompressed(image, 30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "mirrored": ImageOps.mirror,
    "grey": lambda image: image.convert("L"),
    "squashed to a square": lambda image: image.resize((min(image.size),) * 2),
    "brightness x 1.3": brightness(1.3),
    "1 % of each side cut off": cropped(0.01),
    "3 % of each side cut off": cropped(0.03),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}
SHORTCUTS: dict[str, tuple[str, Change]] = {
    "one size": (".jpg", lambda image: image.resize((300, 225))),
    "PNG": (".png", lambda image: image),
    "a white border": (".jpg", lambda image: ImageOps.expand(image, 8, "white")),
}


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """Through JPEG and back."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def images_of(data: Path, name: str) -> Collection:
    """A data set, cut as `run` does."""
    given = datasets.stanford_dogs(data / name) if name == "stanford_dogs" else datasets.image_folder(data / name)
    return Collection(cut(given, 0.1, 0.125, 0), frozenset(split for split, _ in given.items()))


def folder_of(folder: Path) -> tuple[Collection, Records]:
    """A folder that was written here, and its records."""
    images = Collection(cut(datasets.image_folder(folder), 0.1, 0.125, 0))
    return images, scan(images, processors(), quiet)


def chosen_paths(images: Collection, n: int, random: np.random.Generator) -> list[Path]:
    """Files of n images, drawn; copies of others are left out."""
    paths = [images.path(int(k)) for k in random.permutation(len(images))[:n]]
    return [path for path in paths if path is not None]


def plant(folder: Path, paths: list[Path], random: np.random.Generator) -> dict[str, list[str]]:
    """Write every fault into a folder, one each for each file. name of a fault -> ids."""
    written: dict[str, list[str]] = {}
    (folder / "b").mkdir(parents=True)
    (folder / "a").mkdir()
    for number, path in enumerate(paths):
        data, image = path.read_bytes(), Image.open(path).convert("RGB")
        (folder / "a" / f"{number}.jpg").write_bytes(data)
        for name, (_, suffix, break_it) in BROKEN.items():
            place = folder / "b" / f"{number} {name}{suffix}"
            place.write_bytes(break_it(data, random))
            written.setdefault(name, []).append(f"b/{place.name}")
        for name, (_, suffix, change) in CHANGED.items():
            place = folder / "b" / f"{number} {name.replace(':', ' to ')}{suffix}"
            change(image).save(place, "PNG")
            written.setdefault(name, []).append(f"b/{place.name}")
    return written


def faults(images: Collection, records: Records, each: int, random: np.random.Generator) -> Iterator[str]:
    """Rows of a table: how many planted faults are found; and what untouched images are said to have."""
    with tempfile.TemporaryDirectory() as scratch:
        written = plant(Path(scratch), chosen_paths(images, each, random), random)
        planted, seen = folder_of(Path(scratch))
        found = {**masks(planted, seen), "unreadable": ~seen.rows["readable"]}
        names = {kind: {planted.name(int(k)) for k in np.flatnonzero(holds)} for kind, holds in found.items()}
    elsewhere = {**masks(images, records), "unreadable": ~records.rows["readable"]}
    for name, (kind, *_) in (BROKEN | CHANGED).items():
        hits = sum(one in names[kind] for one in written[name])
        yield f"| {kind} | {name} | {hits} of {len(written[name])} | {int(elsewhere[kind].sum())} of {len(images):,} |"


def copies(images: Collection, records: Records, each: int, random: np.random.Generator) -> Iterator[str]:
    """Rows of a table: how many copies are paired with their original; and how many pairs are there untouched."""
    paths = chosen_paths(images, each, random)
    with tempfile.TemporaryDirectory() as scratch:
        for number, path in enumerate(paths):
            image = Image.open(path).convert("RGB")
            save(image, Path(scratch) / "a" / f"{number}.png")
            for k, change in enumerate(COPIES.values()):
                save(change(image), Path(scratch) / "b" / f"{number} {k}.png")
        planted, seen = folder_of(Path(scratch))
        found = {frozenset((planted.name(int(i)), planted.name(int(j)))) for i, j in couples(find_pairs(seen))}
    for k, name in enumerate(COPIES):
        hits = sum(frozenset((f"a/{n}.png", f"b/{n} {k}.png")) in found for n in range(len(paths)))
        yield f"| copy | {name} | {hits} of {len(paths)} | |"
    yield f"| pairs | none planted | | {len(find_pairs(records))} in {len(images):,} |"


def couples(pairs: Pairs) -> Iterator[tuple[int, int]]:
    """(first, second) of each pair."""
    return zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)


def save(image: Image.Image, path: Path) -> None:
    """Save an image, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def planted_shortcuts(images: Collection, records: Records) -> Iterator[str]:
    """Rows of a table: planted into each of some classes in turn; and what untouched classes are said to have."""
    for classes in (2, CLASSES):
        for name, (suffix, change) in SHORTCUTS.items():
            hits = sum(is_found(images, classes, odd, suffix, change) for odd in range(classes))
            yield f"| shortcut | {name}, into one of {classes} classes | {hits} of {classes} | |"
    untouched = [finding.message for finding in shortcuts(images, records)]
    yield f"| shortcut | none planted | | {len(untouched)} {'; '.join(untouched)} |"


def is_found(images: Collection, classes: int, odd: int, suffix: str, change: Change) -> bool:
    """Whether a shortcut of class `odd` is found among some classes."""
    with tempfile.TemporaryDirectory() as scratch:
        for label in range(classes):
            places = np.flatnonzero(images.targets == label)[:EACH_CLASS].tolist()
            for path in filter(None, map(images.path, places)):
                image = Image.open(path).convert("RGB")
                place = Path(scratch) / str(label) / path.stem
                if label == odd:
                    save(change(image), place.with_suffix(suffix))
                else:
                    place.parent.mkdir(exist_ok=True)
                    place.with_suffix(".jpg").write_bytes(path.read_bytes())
        return any(shortcuts(*folder_of(Path(scratch))))


def twins(data: Path) -> Iterator[str]:
    """Lines on data sets whose twins are known."""
    for name in ("caltech101_25", "cifar10_images"):
        images = images_of(data, name)
        began = time.monotonic()
        records = scan(images, processors(), quiet)
        scanned = time.monotonic()
        pairs = find_pairs(records)
        known = len(twins_in_train(images, pairs, "test"))
        yield (
            f"{name}: {len(images):,} images, {len(pairs)} pairs, {known} test images with a twin in train; "
            f"{scanned - began:.0f} s to decode and hash, {time.monotonic() - scanned:.0f} s to compare"
        )


def speed(data: Path) -> Iterator[str]:
    """Lines on time: 10,000 links to photographs."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = [images_of(data, name).path for name in ("caltech101_25", "imagenet_val_20x50", "stanford_dogs")]
        sizes = [len(images_of(data, name)) for name in ("caltech101_25", "imagenet_val_20x50", "stanford_dogs")]
        everything = [path(k) for path, n in zip(paths, sizes, strict=True) for k in range(n)]
        for k in range(10_000):
            place = Path(scratch) / "ab"[k % 2] / f"{k}.jpg"
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(everything[k % len(everything)] or "")
        decoding = bare_decoding(everything)
        began, cpu = time.monotonic(), cpu_of_children()
        _, records = folder_of(Path(scratch))
        pixels = float((records.rows["width"].astype(np.int64) * records.rows["height"]).mean())
        yield (
            f"10,000 photographs of {pixels / 1e3:.0f} k pixels: {time.monotonic() - began:.0f} s to decode and hash, "
            f"{cpu_of_children() - cpu:.0f} s of processor time; decoding alone takes {decoding:.0f} s of that"
        )
        began = time.monotonic()
        find_pairs(records)
        yield f"comparing all 10,000 with all: {time.monotonic() - began:.0f} s"


def memory(_data: Path) -> Iterator[str]:
    """Lines on the memory that the command has of its own, without workers: 6,000 and 100,000 small files, drawn."""
    with tempfile.TemporaryDirectory() as scratch:
        random, folder = np.random.default_rng(SEED), Path(scratch) / "images"
        for k in range(100_000):
            if k == 6_000:
                yield f"{k:,} files: {peak_of_check(folder) / 2**20:.0f} MiB at most"
            pattern = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            save(pattern.resize((32, 32), Image.Resampling.BICUBIC), folder / str(k % 10) / f"{k}.png")
        yield f"100,000 files: {peak_of_check(folder) / 2**20:.0f} MiB at most"


def peak_of_check(folder: Path) -> int:
    """Most bytes of anonymous memory that `check --no-labels` has, looked at every 20 ms."""
    command = [sys.executable, "-m", "ignite_vision", "check", str(folder), "--no-labels", "--out", f"{folder}.check"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        most = 0
        while process.poll() is None:
            most = max(most, anonymous_memory(process.pid))
            time.sleep(0.02)
    assert process.returncode == 0, f"check ended with {process.returncode}"
    return most


def bare_decoding(paths: list[Path | None], tried: int = 1000) -> float:
    """Seconds of processor time in which 10,000 of these would be decoded, from every so many."""
    chosen = [path for path in paths[:: max(1, len(paths) // tried)] if path is not None]
    began = time.process_time()
    for path in chosen:
        read_image(path)
    return (time.process_time() - began) / len(chosen) * 10_000


def cpu_of_children() -> float:
    """Seconds of processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


PLANTED = ("faults", "copies", "shortcuts")
MEASURED = {"twins": twins, "speed": speed, "memory": memory}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="stanford_dogs,imagenet_val_20x50,caltech101_25")
    parser.add_argument("--each", type=int, default=20, help="how many of each are planted")
    parser.add_argument("--only", choices=(*PLANTED, *MEASURED))
    chosen = parser.parse_args()
    data = Path(os.environ["IGNITE_VISION_TEST_DATA"])
    parts = {"faults": faults, "copies": copies}
    for name in chosen.sets.split(",") if chosen.only not in MEASURED else ():
        images = images_of(data, name)
        records = scan(images, processors(), quiet)
        print(
            f"\n{name}, {len(images):,} images\n\n| kind | planted | found | of untouched images |\n|---|---|---|---|"
        )
        for part, table in parts.items():
            if chosen.only in (None, part):
                for row in table(images, records, chosen.each, np.random.default_rng(SEED)):
                    print(row, flush=True)
        if chosen.only in (None, "shortcuts"):
            for row in planted_shortcuts(images, records):
                print(row, flush=True)
    for part, lines in MEASURED.items():
        if chosen.only in (None, part):
            print("", *lines(data), sep="\n", flush=True)


if __name__ == "__main__":
    main()
