"""What paths mean: files, folders, patterns and lists, in order, however odd their names."""

import os
import threading
import time
from pathlib import Path

import pytest

from ignite_vision.errors import UserError
from ignite_vision.inference.sources import MOST, bursts
from tests.helpers.pictures import deep_folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Return a folder of empty files, the working directory: what they hold is not looked at here."""
    for name in (
        "b/2.jpg",
        "b/1.jpg",
        "b/deep/3.png",
        "a.jpg",
        "b-c/4.jpg",
        ".hidden/5.jpg",
        "b/.6.jpg",
        "b/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*paths):
    return [str(image) for part in bursts(paths) for image in part]


def listed(data):
    """The parts of a list that comes by a pipe and ends."""
    read, write = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(write, data), os.close(write)))
    writer.start()
    try:
        return [list(part) for part in bursts(["-"], read)]
    finally:
        os.close(read)
        writer.join()


def test_a_file_is_itself_whatever_its_name_and_whether_it_is_there(photos):
    assert found("b/notes.txt", "gone.jpg", "./a.jpg") == ["b/notes.txt", "gone.jpg", "./a.jpg"]


def test_a_folder_is_its_images_and_those_deeper_in_bytewise_order_without_hidden_ones(photos):
    assert found(str(photos)) == [
        str(photos / name) for name in ("a.jpg", "b-c/4.jpg", "b/1.jpg", "b/2.jpg", "b/deep/3.png")
    ]
    assert found("b") == found("b/") == ["b/1.jpg", "b/2.jpg", "b/deep/3.png"]


def test_a_folder_that_cannot_be_read_is_an_error_in_its_place(photos):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (photos / "b").chmod(0)
    try:
        images = [image for part in bursts([str(photos)]) for image in part]
    finally:
        (photos / "b").chmod(0o755)
    assert [type(image) for image in images] == [str, str, UserError]


def test_folders_may_lie_deeper_than_python_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with deep_folder(tmp_path / "d"):
        (image,) = found("d")
    assert image.endswith("d/x.jpg")


def test_a_pattern_is_what_matches_and_an_error_where_nothing_does(photos):
    assert found("b/*.jpg") == ["b/1.jpg", "b/2.jpg"]
    assert found("**/*.png") == ["b/deep/3.png"]
    assert found("b*") == ["b/1.jpg", "b/2.jpg", "b/deep/3.png", "b-c/4.jpg"]
    (error,) = (image for part in bursts(["*.webp"]) for image in part)
    assert (error.what, error.path) == ("no file matches", "*.webp")


def test_a_name_that_exists_is_no_pattern(photos):
    (photos / "a[1].jpg").touch()
    (photos / "a1.jpg").touch()
    assert found("a[1].jpg") == ["a[1].jpg"]


def test_paths_that_are_no_utf_8_and_have_newlines_are_passed_on(photos):
    odd = os.fsdecode(b"b/\xff\n,.jpg")
    Path(odd).touch()
    assert os.fsencode(found("b")[2]) == b"b/deep/3.png"
    assert odd in found("b")
    assert found(odd) == [odd]
    assert found("nul\0.jpg") == ["nul\0.jpg"]


class TestAList:
    @pytest.mark.parametrize("data", [b"a.jpg\nb/1.jpg\n", b"a.jpg\nb/1.jpg", b"\na.jpg\n\nb/1.jpg\n\n"])
    def test_has_one_path_a_line(self, photos, data):
        assert [image for part in listed(data) for image in part] == ["a.jpg", "b/1.jpg"]

    def test_may_hold_folders_but_no_patterns(self, photos):
        (parts,) = listed(b"b\n*.jpg\n\xff\n")
        assert parts == ["b/1.jpg", "b/2.jpg", "b/deep/3.png", "*.jpg", "\udcff"]

    def test_may_be_empty(self, photos):
        assert [image for part in listed(b"") for image in part] == []

    def test_ends_a_part_where_it_pauses(self, photos):
        """Whoever types a path has its answer before the next one."""
        read, write = os.pipe()
        parts = bursts(["-"], read)
        os.write(write, b"a.jpg\nb/1.")
        assert list(next(parts)) == ["a.jpg"]
        os.write(write, b"jpg\n")
        assert list(next(parts)) == ["b/1.jpg"]
        os.close(write)
        assert [list(part) for part in parts] == [[]]
        os.close(read)

    def test_streams(self, photos):
        """A list of any length is read as it is needed."""
        read, write = os.pipe()
        written = []

        def write_for_ever():
            try:
                while True:
                    written.append(os.write(write, b"a.jpg\n" * 1000))
            except BrokenPipeError:
                os.close(write)

        writer = threading.Thread(target=write_for_ever)
        writer.start()
        part = next(bursts(["-"], read))
        for _ in range(100):
            assert next(part) == "a.jpg"
        time.sleep(0.05)
        assert sum(written) < 1 << 20
        os.close(read)
        writer.join()

    def test_that_is_none_is_refused(self, photos):
        with pytest.raises(UserError, match="stdin is no list of paths"):
            listed(b"\x89PNG" * MOST)

    def test_and_other_paths_go_together(self, photos):
        read, write = os.pipe()
        os.write(write, b"b/1.jpg\n")
        os.close(write)
        images = [image for part in bursts(["a.jpg", "-", "b/2.jpg"], read) for image in part]
        assert images == ["a.jpg", "b/1.jpg", "b/2.jpg"]
        os.close(read)


def test_a_list_with_the_line_ends_of_another_system_names_the_same_files(photos):
    (photos / "odd\r").touch()
    assert [str(path) for part in listed(b"a.jpg\r\n\r\nb/1.jpg\r\nodd\r\n") for path in part] == [
        "a.jpg",
        "b/1.jpg",
        "odd\r",
    ]
