"""One pass, and what it sees of files that are not as they should be."""

import os
import sys

import numpy as np
import torch

from ignite_vision import Splits
from ignite_vision.data.containers import ArrayImages
from ignite_vision.health import scan as scanning
from ignite_vision.health.collection import Collection
from ignite_vision.health.records import format_name
from ignite_vision.health.scan import complaints, scan
from tests.helpers.pictures import picture, save


def silent(_line):
    pass


def places(images):
    return {images.name(k): k for k in range(len(images))}


def test_processes_see_what_one_sees(photos, collected, monkeypatch):
    (photos / "a" / "00.jpg").write_bytes(b"<html>")
    images = collected(photos)
    alone = scan(images, 0, silent)
    monkeypatch.setattr(scanning, "FEW", 0)
    shared = scan(images, 2, silent)
    assert (alone.rows == shared.rows).all()
    assert alone.reasons == shared.reasons != {}


def test_what_cannot_be_read_has_its_reason_and_the_rest_is_read(photos, collected):
    whole = (photos / "a" / "00.jpg").read_bytes()
    (photos / "a" / "00.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (photos / "a" / "01.jpg").write_bytes(b"")
    (photos / "a" / "02.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    images = collected(photos)
    (photos / "a" / "03.jpg").unlink()
    records = scan(images, 0, silent)
    reasons = {images.name(k): reason for k, reason in records.reasons.items()}
    assert reasons == {
        "a/00.jpg": "the file is cut off",
        "a/01.jpg": "not an image of a known format",
        "a/02.jpg": "not an image of a known format",
        "a/03.jpg": "No such file or directory",
    }
    assert records.rows["readable"].sum() == 26


def test_a_jpeg_that_is_damaged_inside_is_seen_although_it_decodes(photos, collected):
    path = photos / "b" / "05.jpg"
    data = bytearray(path.read_bytes())
    del data[len(data) // 2 : -len(data) // 4]
    path.write_bytes(data)
    images = collected(photos)
    damaged = scan(images, 0, silent).rows["damaged"]
    assert [images.name(k) for k in np.flatnonzero(damaged)] == ["b/05.jpg"]


def test_the_record_has_the_size_the_format_and_the_content(photos, collected):
    save(photos, "a/wide.png", picture(1, (120, 60)))
    save(photos, "b/copy.png", picture(1, (120, 60)))
    images = collected(photos)
    rows, place = scan(images, 0, silent).rows, places(images)
    one, other = rows[place["a/wide.png"]], rows[place["b/copy.png"]]
    assert (one["width"], one["height"], format_name(one["format"])) == (120, 60, "PNG")
    assert one["bytes"] == (photos / "a" / "wide.png").stat().st_size
    assert one["content"] == other["content"] != rows[place["a/00.jpg"]]["content"]


def test_images_in_memory_are_checked_too():
    pixels = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[7] = pixels[3]
    train, test = ArrayImages(pixels[:30], [0, 1] * 15), ArrayImages(pixels[30:], [0, 1] * 5, "test")
    records = scan(Collection(Splits(train, None, test, ("x", "y"))), 0, silent)
    assert records.rows["readable"].all()
    assert records.rows["content"][7] == records.rows["content"][3] != records.rows["content"][4]
    assert format_name(records.rows["format"][0]) == "no file"


def test_stderr_is_as_before_whatever_happens(capfd):
    try:
        with complaints() as heard:
            os.write(2, b"Corrupt JPEG data: bad Huffman code\n")
            assert b"Huffman" in heard()
            assert heard() == b""
            os.write(2, b"not asked for\n")
            raise KeyError
    except KeyError:
        pass
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "afterwards\n"
