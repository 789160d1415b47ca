"""Fixtures that every test may use: real data if it is there, and real runs on tiny data."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ignite_vision import Recipe, Splits
from ignite_vision.data.containers import ArrayImages
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.system.process import flush_denormals, tune_processor

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
tune_processor()  # as the command does
# Debian's Chromium looks up names of Google's at every start, whatever its options
QUIET = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real images and weights; without it the test says what it would need."""
    folder = os.environ.get("IGNITE_VISION_TEST_DATA")
    if not folder:
        pytest.skip("IGNITE_VISION_TEST_DATA is not set: real images and weights are not here")
    return Path(folder)


@pytest.fixture(scope="session")
def children(tmp_path_factory):
    """Where children.py keeps what its processes print."""
    folder = tmp_path_factory.mktemp("children")
    os.environ["IGNITE_VISION_CHILDREN"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def playwright_running():
    """Playwright, which can run only once in a process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright, for the tests of the pages")
    with playwright.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright_running):
    """A browser for the tests of a page."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    browser = playwright_running.chromium.launch(executable_path=chromium, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    """Keep every test's runs and data out of the user's folders."""
    monkeypatch.setenv("IGNITE_VISION_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("IGNITE_VISION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def processor():
    """Undo what a test did to its thread: onnxruntime has numbers that are almost nothing count again."""
    flush_denormals()


def squares(root: Path) -> Splits:
    """Return 120 noisy 8x8 pictures of three brightnesses: learnable within an epoch or two."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.arange(120) % 3
    noise = torch.randint(0, 40, (120, 1, 8, 8), generator=generator)
    images = (targets[:, None, None, None] * 90 + noise).to(torch.uint8)
    return Splits(train=ArrayImages(images, targets), val=None, test=None, classes=("dark", "middle", "bright"))


def small_net(num_classes: int) -> torch.nn.Module:
    """Return a network with all that makes training hard to repeat: BatchNorm and dropout."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.25),
        torch.nn.Linear(256, num_classes),
    )


@pytest.fixture
def make_run(tmp_path):
    """Return a function that prepares a run on tiny data: recipe fields and options by keyword."""

    def make(out=None, device="cpu", workers=0, data=None, data_function=squares, **fields):
        fields = {
            "data": data_function,
            "test_fraction": 0.2,
            "val_fraction": 0.2,
            "model": small_net,
            "epochs": 2,
            "batch_size": 16,
            "precision": "fp32",
            **fields,
        }
        loaded = LoadedRecipe(Recipe(**fields), "squares", "squares", Path(__file__))
        lines: list[str] = []
        options = Options(data=data, out=out or tmp_path / "run", device=device, workers=workers)
        return prepare(loaded, {}, options, lines.append)

    return make


@pytest.fixture
def image_folder(tmp_path):
    """Return a folder of 3 classes with 12 photographs each, all of their own size, as JPEG."""
    root = tmp_path / "photos"
    random = np.random.default_rng(0)
    for c, name in enumerate(("apple", "banana", "cherry")):
        (root / name).mkdir(parents=True)
        for i in range(12):
            height, width = 40 + i, 52 - i
            pixels = random.integers(0, 80, (height, width, 3)) + np.array([90 * (c == k) for k in range(3)])
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02}.jpg")
    return root


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Path:
    """Return a finished run of the recipe `digits`: two epochs."""
    from ignite_vision.jobs import train_and_evaluate
    from ignite_vision.recipe_files import load

    out = tmp_path_factory.mktemp("digits") / "run"
    options = Options(out=out, data=tmp_path_factory.mktemp("none"), device="cpu", workers=0)
    train_and_evaluate(prepare(load("digits"), {"epochs": "2"}, options, lambda line: None), lambda *_: None)
    return out


@pytest.fixture(scope="session")
def digits_onnx(digits_run) -> Path:
    """Return the same as an ONNX file."""
    pytest.importorskip("onnxscript")
    from ignite_vision.inference.export import Request, export

    return export(Request(digits_run)).path
