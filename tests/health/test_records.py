"""A record is small, whatever the image."""

import numpy as np

from ignite_vision.health.records import RECORD, UNKNOWN, Records, code, format_name


def test_a_million_images_take_114_megabytes():
    assert RECORD.itemsize == 114


def test_sides_are_told_by_length():
    rows = np.zeros(2, dtype=RECORD)
    rows["width"], rows["height"] = (30, 50), (40, 20)
    records = Records(rows, {})
    assert (records.short.tolist(), records.long.tolist(), len(records)) == ([30, 20], [40, 50], 2)


def test_formats_have_numbers():
    assert format_name(code("PNG", ("JPEG", "PNG"))) == "PNG"
    assert format_name(code("TGA", ("JPEG", "PNG"))) == format_name(UNKNOWN) == "no file"


def test_records_in_another_order_keep_their_reasons():
    rows = np.zeros(3, dtype=RECORD)
    rows["width"] = (1, 2, 3)
    records = Records(rows, {0: "empty", 2: "cut off"}).at(np.array([2, 1]))
    assert (records.rows["width"].tolist(), records.reasons) == ([3, 2], {0: "cut off"})
