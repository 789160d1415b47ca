"""Near-duplicates of real files are found, kept, and never keep a run from its data."""

import shutil

import torch
from PIL import Image

from ignite_vision import datasets
from ignite_vision.data.duplicates import clusters, hashes
from ignite_vision.system.files import cache_home


def alike(images):
    """Sets of ids that have one number."""
    numbers = clusters(images)
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
    [kept] = cache_home().glob("hashes-*.npy")
    kept.write_bytes(b"cut off")
    assert (hashes(images) != 0).any() and kept.stat().st_size > 1000


def test_an_unreadable_image_has_no_duplicates(image_folder):
    (image_folder / "apple" / "00.jpg").write_bytes(b"no image")
    shutil.copy(image_folder / "apple" / "00.jpg", image_folder / "apple" / "x.jpg")
    assert alike(datasets.image_folder(image_folder).train) == []


def test_a_whole_class_of_one_picture_counts_as_no_duplicates(image_folder):
    for k in range(40):
        shutil.copy(image_folder / "apple" / "00.jpg", image_folder / "apple" / f"copy{k}.jpg")
    assert alike(datasets.image_folder(image_folder).train) == []
