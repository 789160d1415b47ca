"""A download is whole or not there; without a network the way out is printed at once."""

import functools
import hashlib
import http.server
import socket
import tarfile
import threading

import pytest

from ignite_vision import datasets
from ignite_vision.data.downloads import socket_timeout
from ignite_vision.datasets import caltech256, cifar10, fashion_mnist, stanford_dogs, torchvision_dataset
from ignite_vision.errors import UserError
from tests.test_datasets import write, write_dogs


def no_network():
    """Whether names cannot be resolved: the tests of the offline message need that for real."""
    try:
        socket.create_connection(("data.caltech.edu", 443), timeout=2).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (caltech256, "(1.1 GiB), unpack it to {root}/256_ObjectCategories,"),
        (stanford_dogs, "(757 MiB)"),
        (cifar10, "(163 MiB), unpack it to {root}/cifar-10-batches-py,"),
        (fashion_mnist, "(30 MiB), unpack it to {root}/FashionMNIST/raw,"),
        (torchvision_dataset("Food101"), "torchvision.datasets.Food101.html"),
    ],
    ids=["caltech256", "stanford_dogs", "cifar10", "fashion_mnist", "Food101"],
)
def test_without_a_network_the_way_out_is_printed_at_once(tmp_path, data, size):
    if not no_network():
        pytest.skip("there is a network here")
    root = tmp_path / "data"
    with pytest.raises(UserError, match="^cannot download ") as raised:
        data(root)
    message = str(raised.value)
    assert size.format(root=root) in message and f"pass --data {root}" in message
    assert "ignite-vision run digits" in message and raised.value.code == 2
    assert not list(root.iterdir())


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder at the address of Stanford Dogs."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(datasets, "DOGS_URL", f"http://127.0.0.1:{running.server_port}/")
        yield folder
        running.shutdown()


def pack(source, target, names):
    with tarfile.open(target, "w") as archive:
        for name in names:
            archive.add(source / name, name)
    return hashlib.md5(target.read_bytes()).hexdigest()


@pytest.fixture
def packed_dogs(server, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    write_dogs(source, ".")
    sums = {"images.tar": pack(source, server / "images.tar", ["Images"])}
    sums["lists.tar"] = pack(source, server / "lists.tar", ["train_list.mat", "test_list.mat"])
    monkeypatch.setattr(datasets, "DOGS_MD5", sums)
    return server


def test_a_download_is_unpacked_and_the_archives_are_gone(packed_dogs, tmp_path):
    root = tmp_path / "data"
    splits = stanford_dogs(root)
    assert len(splits.train) == 6 and len(splits.test) == 3
    assert sorted(path.name for path in root.iterdir()) == ["Images", "test_list.mat", "train_list.mat"]
    assert socket.getdefaulttimeout() is None


def test_an_archive_that_was_cut_short_is_never_taken_for_the_data(packed_dogs, tmp_path):
    whole = (packed_dogs / "lists.tar").read_bytes()
    (packed_dogs / "lists.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot download StanfordDogs: File not found or corrupted"):
        stanford_dogs(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    (packed_dogs / "lists.tar").write_bytes(whole)
    assert len(stanford_dogs(tmp_path / "data").train) == 6


def test_a_download_fills_up_what_is_there_already(packed_dogs, tmp_path):
    write(tmp_path / "data" / "Images" / "mine.jpg")
    assert len(stanford_dogs(tmp_path / "data").train) == 6
    assert (tmp_path / "data" / "Images" / "mine.jpg").exists()


def test_the_timeout_of_downloads_ends_with_them():
    with socket_timeout(7.0):
        assert socket.getdefaulttimeout() == 7.0
    assert socket.getdefaulttimeout() is None
