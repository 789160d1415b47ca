"""Near-duplicates of real files are found, kept, and never keep a run from its data."""

import shutil

import torch
from PIL import Image

from ignite_vision import datasets
from ignite_vision.data import duplicates
from ignite_vision.data.duplicates import clusters, hashes
from ignite_vision.data.hashing import perceptual_hash
from ignite_vision.system import progress
from ignite_vision.system.files import cache_home


def alike(images):
    """Sets of ids that have one number."""
    numbers = clusters(images, print)
    names = [images.sample_id(i) for i in range(len(images))]
    found = [{names[i] for i in torch.nonzero(numbers == n)[:, 0].tolist()} for n in numbers.unique().tolist()]
    return [group for group in found if len(group) > 1]


def test_a_copy_a_smaller_one_and_a_mirrored_one_are_found(image_folder):
    image = Image.open(image_folder / "apple" / "00.jpg").resize((200, 160), Image.Resampling.BILINEAR)
    image.save(image_folder / "apple" / "large.png")
    image.resize((150, 120)).save(image_folder / "apple" / "small.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image_folder / "banana" / "mirrored.jpg", quality=80)
    [found] = alike(datasets.image_folder(image_folder).train)
    assert {"apple/large.png", "apple/small.png", "banana/mirrored.jpg"} <= found


def test_images_of_their_own_are_alone_and_the_hashes_are_kept(image_folder):
    images = datasets.image_folder(image_folder).train
    assert alike(images) == []
    [kept] = cache_home().glob("hashes-*")
    kept.write_bytes(b"cut off")
    assert (hashes(images, print) != 0).any() and kept.stat().st_size > 1000


def test_an_unreadable_image_has_no_duplicates(image_folder):
    (image_folder / "apple" / "00.jpg").write_bytes(b"no image")
    shutil.copy(image_folder / "apple" / "00.jpg", image_folder / "apple" / "x.jpg")
    assert alike(datasets.image_folder(image_folder).train) == []


def test_a_whole_class_of_one_picture_counts_as_no_duplicates(image_folder):
    for k in range(40):
        shutil.copy(image_folder / "apple" / "00.jpg", image_folder / "apple" / f"copy{k}.jpg")
    assert alike(datasets.image_folder(image_folder).train) == []


def test_one_more_image_is_the_only_one_that_is_decoded(image_folder, monkeypatch):
    images = datasets.image_folder(image_folder).train
    before = hashes(images, print)
    shutil.copy(image_folder / "apple" / "00.jpg", image_folder / "apple" / "zz.jpg")
    decoded = []
    monkeypatch.setattr(duplicates, "perceptual_hash", lambda image: decoded.append(image) or perceptual_hash(image))
    images = datasets.image_folder(image_folder).train
    after = hashes(images, print)
    assert len(decoded) == 1
    names = [images.sample_id(i) for i in range(len(images))]
    assert (after[names.index("apple/zz.jpg")] == after[names.index("apple/00.jpg")]).all()
    assert len(after) == len(before) + 1


def test_who_waits_is_told_how_long(image_folder, monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(duplicates, "AT_ONCE", 9)
    lines = []
    hashes(datasets.image_folder(image_folder).train, lines.append)
    assert lines[0] == "looking for near-duplicates: 25%, 18 s to go"
