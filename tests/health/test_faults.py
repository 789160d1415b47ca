"""Every fault of a single image is found where it was planted, and nowhere else."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from ignite_vision.health.faults import faults, is_misnamed
from tests.helpers.pictures import picture, save


def found_in(images, records):
    return {finding.kind: finding for finding in faults(images, records)}


def test_pictures_without_faults_have_none(photos, scanned):
    assert found_in(*scanned(photos)) == {}


def sharp():
    """A picture with edges, as those of picture() have none."""
    tiles = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(tiles).resize((240, 180), Image.Resampling.NEAREST)


def twelve_bits():
    values = np.asarray(picture(5).convert("L"), dtype=np.uint16) * 16
    return Image.fromarray(values)


PLANTED = {
    "tiny": lambda: picture(1, (31, 60)),
    "aspect": lambda: picture(1, (340, 80)),
    "dark": lambda: ImageEnhance.Brightness(picture(1)).enhance(0.15),
    "blank": lambda: Image.new("RGB", (100, 100), "orange"),
    "blurred": lambda: sharp().filter(ImageFilter.GaussianBlur(4)),
    "half_used": twelve_bits,
    "transparent": lambda: picture(1).convert("RGBA"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(kind, photos, scanned):
    save(photos, "b/planted.png", PLANTED[kind]())
    found = found_in(*scanned(photos))
    assert list(found) == [kind]
    assert (found[kind].images, found[kind].n) == (("b/planted.png",), 1)
    assert found[kind].level == ("note" if kind == "transparent" else "look")


def test_a_sharp_picture_is_not_blurred(photos, scanned):
    save(photos, "b/planted.png", sharp())
    assert found_in(*scanned(photos)) == {}


def test_unreadable_files_must_be_fixed_and_their_reasons_are_counted(photos, scanned):
    for name in ("00", "01"):
        (photos / "a" / f"{name}.jpg").write_bytes(b"<html>")
    cut = (photos / "b" / "00.jpg").read_bytes()
    (photos / "b" / "00.jpg").write_bytes(cut[: len(cut) // 2])
    (finding,) = faults(*scanned(photos))
    assert (finding.kind, finding.level, finding.n) == ("unreadable", "must", 3)
    assert "not an image of a known format (2), the file is cut off (1)" in finding.message
    assert finding.images == ("a/00.jpg", "a/01.jpg", "b/00.jpg")


def test_a_file_of_another_format_than_its_name_says_is_noted(photos, scanned):
    save(photos, "c/planted.jpg", picture(1), format="PNG")
    (finding,) = faults(*scanned(photos))
    assert (finding.kind, finding.level, finding.images) == ("extension", "note", ("c/planted.jpg",))


def test_what_most_images_are_is_no_fault(tmp_path, scanned):
    for k in range(12):
        save(tmp_path, f"{'ab'[k % 2]}/{k}.png", picture(k, (20, 20)))
    assert found_in(*scanned(tmp_path)) == {}


@pytest.mark.parametrize(("name", "kind"), [("x.JPG", "JPEG"), ("x.jfif", "JPEG"), ("x.pgm", "PPM"), ("x", "PNG")])
def test_names_that_promise_what_is_there(name, kind, tmp_path):
    assert not is_misnamed(tmp_path / name, kind)
    assert not is_misnamed(None, kind)
