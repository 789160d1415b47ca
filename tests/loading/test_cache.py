"""Rows on disk: whole or not there, and never those of other images."""

import os
import time

import numpy as np
import pytest
import torch

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.loading.cache import SHARD_ROWS, Shards, clean, has_room


def filled(n=2500, shape=(2, 3), dtype=torch.float32, key="k"):
    """Return rows 0, 1, 2... on disk, and the same in memory."""
    rows = torch.arange(n * 6).view(n, *shape).to(dtype)
    shards = Shards("test", key, n, shape, dtype)
    for k in shards.missing():
        shards.write(k, rows[k * SHARD_ROWS : (k + 1) * SHARD_ROWS])
    return shards, rows


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_rows_come_back_as_they_were(dtype):
    shards, rows = filled(dtype=dtype)
    assert shards.missing() == []
    assert shards.read_all().equal(rows)
    index = np.array([2499, 0, 1024, 1023, 0])
    assert shards.gather(index).equal(rows[index])


def test_another_process_finds_them_with_shape_and_type():
    shards, rows = filled(dtype=torch.bfloat16)
    again = Shards.on_disk("test", "k", 2500)
    assert (again.shape, again.dtype) == ((2, 3), torch.bfloat16)
    assert again.read_all().equal(rows)
    assert Shards.on_disk("test", "other key", 2500) is None


def test_a_file_that_was_cut_off_is_missing_and_only_that_one():
    shards, _ = filled()
    with shards.path(1).open("r+b") as file:
        file.truncate(1000)
    assert shards.missing() == [1]


def test_what_a_killed_writer_left_is_not_believed():
    shards, _ = filled(n=SHARD_ROWS)
    shards.path(0).rename(shards.folder / ".00000.99.tmp")
    assert shards.missing() == [0]


def test_a_file_that_could_not_be_written_to_its_end_is_not_there(tmp_path, monkeypatch):
    shards, rows = filled(n=3)
    shards.path(0).unlink()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)  # the last step before a file takes its name
        with pytest.raises(UserError, match="cannot write the cache: No space left"):
            shards.write(0, rows)
    assert [path.name for path in shards.folder.iterdir()] == ["key.json"]
    assert shards.missing() == [0]
    shards.write(0, rows)
    assert shards.read_all().equal(rows)


def test_a_worker_maps_the_files_itself():
    import pickle

    shards, rows = filled()
    shards.read_all()
    copy = pickle.loads(pickle.dumps(shards))
    assert copy._maps == {}
    assert copy.gather(np.array([5])).equal(rows[[5]])


def test_a_disk_that_does_not_take_it_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write the cache: .*XDG_CACHE_HOME") as failure:
        filled(n=3)
    assert failure.value.code == NOT_SAVED


def test_room_is_asked_of_the_disk_that_the_folder_will_be_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet" / "there"))
    assert has_room(1)
    assert not has_room(1 << 60)


def test_what_a_killed_command_left_long_ago_is_deleted(tmp_path):
    for name, age in ((".00000.17.tmp", 7200), (".00001.18.tmp", 60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".00001.18.tmp"]


def test_rows_of_which_no_key_says_what_they_are_are_computed_again():
    shards, _ = filled()
    (shards.folder / "key.json").unlink()
    clean(shards.folder)
    assert shards.missing() == list(range(shards.count))
