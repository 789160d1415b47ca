"""Measure every claim about speed, A and B in alternation, and write the table to benchmarks/results/.

    python -m benchmarks [--device cpu|cuda] [--only small,frozen]

Needs no network. Real images are read from IGNITE_VISION_TEST_DATA.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import importlib.metadata
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import Subset
from torchvision import datasets as tv_datasets
from torchvision import models as zoo

from benchmarks import exported, heads, ours, tutorials
from benchmarks.clock import Row, ratios, ratios_of, seconds
from benchmarks.sides import Side, as_lightning, as_the_command, as_the_tutorial
from ignite_vision import datasets
from ignite_vision.data.containers import ImageFiles
from ignite_vision.loading.sources import Decoded
from ignite_vision.system import environment
from ignite_vision.system.device import pick_precision
from ignite_vision.system.process import SPINS, processors, tune_processor

EPOCHS = 3  # of the tutorial's passes that are run to their end
TIMED_IMAGES = 96  # of the tutorial's pass over photographs, which is then multiplied
CATEGORIES = "caltech256/256_ObjectCategories"
LIBGOMP_SPINS = "300000"  # what libgomp does by itself, of as many threads as processors
PLAIN = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
FORWARD = {"densenet121": "2.3", "resnet50": "2.3", "mobilenet_v2": "2.3", "resnet18": "1.6", "vgg11": "1.6"}


def small(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Small pictures from scratch: one epoch's training part."""
    rows: list[Row] = []
    for recipe, folder, target in (("cifar10", "cifar10_images", "2.2"), ("fashion_mnist", "fashion_mnist", "2.1")):
        arguments = (recipe, data / folder, scratch / recipe, device)
        mine, theirs = Side(as_the_command, *arguments), Side(as_the_tutorial, *arguments)
        train, work = partial(mine, "train"), f"`{recipe}`, training part of an epoch"
        found = ratios_of(train, partial(theirs, "train"))
        note = f"test accuracy after an epoch {mine('accuracy'):.3f}, theirs {theirs('accuracy'):.3f}"
        rows.append(Row(work, "the tutorial's loop", *found, f"≥ {target}", note))
        found = ratios_of(train, partial(mine, "bare"))
        note = f"{mine('images') / train():,.0f} images/s, {mine('note')}"
        rows.append(Row(work, "the bare step", *found, "≥ 0.90", note))
        theirs.close()
        kept = Side(as_the_command, *arguments, True)
        found = ratios_of(partial(mine, "epoch"), partial(kept, "epoch"), rounds=2)
        rows.append(Row(f"`{recipe}`, an epoch after the first", "the same with denormal numbers", *found, ""))
        kept.close()
        mine.close()
    return rows


def lightning(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Small pictures from scratch, trained by Lightning in its own bf16, if it is installed."""
    if importlib.util.find_spec("lightning") is None:
        print("lightning is not installed: no row about it", file=sys.stderr)
        return []
    arguments = ("cifar10", data / "cifar10_images", scratch / "lightning", device)
    mine, theirs = Side(as_the_command, *arguments), Side(as_lightning, *arguments)
    rows = []
    for name, what in (("tutorial", "the tutorial's data set"), ("tensors", "a TensorDataset of float32")):
        found = ratios_of(partial(mine, "train"), partial(theirs, name))
        note = f"Lightning {importlib.metadata.version('lightning')}, both in {mine('precision')}"
        rows.append(Row("`cifar10`, training part of an epoch", f"Lightning with {what}", *found, "", note))
    mine.close()
    theirs.close()
    return rows


def frozen(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Frozen networks with a new head: the whole command against the tutorial's passes."""
    rows: list[Row] = []
    for recipe, folder, model, epochs, extra, target in (
        ("caltech256", CATEGORIES, "densenet121", 5, [], "25"),
        ("stanford_dogs", "stanford_dogs/Images", "resnet50", 100, ["--set", "views=2"], "100"),
        ("stanford_dogs", "stanford_dogs/Images", "resnet50", 100, ["--set", "views=8"], "35"),
    ):
        root = data / folder.split("/")[0]
        command = ["run", recipe, "--data", str(root), "--device", device.type]
        command += ["--set", "weights=none", "--set", "patience=none", *extra]
        out = scratch / f"{recipe}{len(rows)}"
        environ = {**os.environ, "XDG_CACHE_HOME": str(scratch / f"cache{len(rows)}")}
        first = seconds(partial(call, [*command, "--out", str(out)], environ), device)
        sizes = json.loads((out / "run.json").read_text())["data"]["sizes"]
        epoch = tutorial_epoch(data / folder, model, sizes["train"], sizes["val"], device)
        work = f"`{recipe}` with {model}, {epochs} epochs, whole command{' ' + extra[1] if extra else ''}"
        note = f"{first:.0f} s; the tutorial's epoch: {epoch:,.0f} s, from {TIMED_IMAGES} images, multiplied"
        rows.append(Row(work, "the tutorial's passes", epochs * epoch / first, "one run", f"≥ {target}", note))
        if not extra:
            changed = [*command, "--set", "lr=0.01", "--out", str(scratch / "again")]
            again = seconds(partial(call, changed, environ), device)
            note = f"{again:.1f} s, no pass over the backbone"
            rows.append(Row("the same with another learning rate", "its first run", first / again, "one run", "", note))
    return rows


def tutorial_epoch(folder: Path, model: str, train: int, val: int, device: torch.device) -> float:
    """Seconds of the tutorial's epoch: a training pass, and evaluation passes over train and validation."""
    dataset = tv_datasets.ImageFolder(str(folder), transform=tutorials.PHOTOGRAPH)
    loader = tutorials.loader(Subset(dataset, list(range(0, len(dataset), len(dataset) // TIMED_IMAGES))), 32)
    network, optimizer = tutorials.frozen(model, len(dataset.classes), None, device)
    images = len(loader.dataset)  # type: ignore[arg-type]
    training = seconds(lambda: tutorials.train_epoch(network, loader, optimizer), device) / images
    evaluating = seconds(lambda: tutorials.evaluate(network, loader), device) / images
    return train * training + (train + val) * evaluating


def weights(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """A frozen network with ImageNet's weights, both ways run to their end, on the same split: time and accuracy."""
    file, out = data / "weights" / "mobilenet_v2.pth", scratch / "weights"
    if not file.is_file():
        print(f"{file} is not there: no row about real weights", file=sys.stderr)
        return []
    command = ["run", "caltech256", "--data", str(data / "caltech256"), "--out", str(out), "--device", device.type]
    command += ["--set", "model=mobilenet_v2", "--set", f"weights={file}", "--epochs", str(EPOCHS)]
    fast = seconds(partial(call, command, dict(os.environ)), device)
    accuracy = json.loads((out / "metrics.json").read_text())["accuracy"]
    loaders = {name: tutorials.loader(part, 32) for name, part in tutorials.parts(data / CATEGORIES, out).items()}
    classes = len(json.loads((out / "run.json").read_text())["classes"])
    network, optimizer = tutorials.frozen("mobilenet_v2", classes, str(file), device)

    def passes() -> None:
        for _ in range(EPOCHS):
            tutorials.train_epoch(network, loaders["train"], optimizer)
            for name in ("train", "val"):
                tutorials.evaluate(network, loaders[name])

    slow = seconds(passes, device)
    theirs = tutorials.evaluate(network, loaders["test"])
    work = f"`caltech256`, ten categories, mobilenet_v2 with ImageNet's weights, {EPOCHS} epochs, whole command"
    note = f"{fast:.0f} s, theirs {slow:.0f} s; test accuracy {accuracy:.3f}, theirs {theirs:.3f}"
    return [Row(work, "the tutorial's passes", slow / fast, "one run", "", note)]


def features(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Features of a frozen network, decoding and writing included, against its forward passes alone."""
    images, batch, elapsed, bare, precision = ours.extraction(data / CATEGORIES, scratch / "features", device)
    work = "features of densenet121 at 224 px, decoded, computed and kept"
    note = f"{images / elapsed:,.0f} images/s, {precision}, batches of {batch}"
    return [Row(work, "its forward passes alone", bare / elapsed, "one run", "", note)]


def files(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """A folder of photographs: decoded on the fly, and from the pixel cache."""
    folder, rows = data / CATEGORIES, []
    for cache, size, iterations, target in (("pixels", 64, 20, "≥ 0.90"), ("none", 224, 10, "")):
        built = ours.built(
            "folder", scratch / cache, device.type, folder, model="resnet18", weights="none", trainable="all",
            image_size=size, batch_size=32, cache=cache,
        )  # fmt: skip
        run = built.run
        found = ratios(ours.some_iterations(run, iterations), ours.bare_step(run, iterations), device)
        work = f"a folder, ResNet-18 at {size} px, {'pixel cache' if cache == 'pixels' else 'decoded on the fly'}"
        rows.append(Row(work, "the bare step", *found, target, built.waiting()))
        run.loaders.close()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = datasets.image_folder(folder).train
    assert isinstance(images, ImageFiles)
    run = ours.built("folder", scratch / "decoded", "cpu", folder, weights="none", cache="none").run
    decoded = Decoded(images, run.canvas, 0)
    theirs = tv_datasets.ImageFolder(str(folder), transform=tutorials.PHOTOGRAPH)
    index = range(0, len(images), 8)
    work = "photographs decoded on the fly, one core"
    limit = ours.decoding_alone([images.path(i) for i in index], run.preprocessing.resize)

    def decode() -> None:
        for i in index:
            decoded.one(0, i)

    found = ratios(decode, lambda: [theirs[i] for i in index], device)
    rows.append(Row(work, "ImageFolder with PIL", *found, "≥ 2.5"))
    rows.append(Row(work, "torchvision's decoder and resize alone", *ratios(decode, limit, device), ""))
    torch.set_num_threads(threads)
    return rows


def forward(_data: Path, _scratch: Path, device: torch.device) -> list[Row]:
    """Evaluation passes of torchvision's models against plain fp32 NCHW."""
    rows = []
    images = torch.rand(32, 3, 224, 224, device=device)
    precision = pick_precision("auto", device)
    for name, target in FORWARD.items():
        plain = zoo.get_model(name, weights=None).eval().to(device)
        fast = ours.forward_as_ours(copy.deepcopy(plain), images, precision)

        def eager(model: torch.nn.Module = plain) -> None:
            with torch.no_grad():
                model(images)

        found = ratios(fast, eager, device, rounds=3)
        rate = f"{len(images) / seconds(fast, device):,.0f} images/s, {precision}"
        rows.append(Row(f"evaluation, {name}", "fp32 NCHW, eager", *found, f"≥ {target}", rate))
    return rows


def allocator(_data: Path, _scratch: Path, device: torch.device) -> list[Row]:
    """Forward passes on a CPU with freed memory kept, in processes of their own, against glibc as it comes."""
    rows: list[Row] = []
    if device.type != "cpu":
        return rows
    for name in ("mobilenet_v2", "densenet121", "resnet50"):
        pairs = [(forward_seconds(name, "keep"), forward_seconds(name)) for _ in range(3)]
        found = sorted(plain / keep for keep, plain in pairs)
        spread = f"{found[0]:.2f}–{found[-1]:.2f}"
        rows.append(Row(f"evaluation, {name}, freed memory kept", "glibc as it comes", found[1], spread, ""))
    return rows


def forward_seconds(*arguments: str, environ: dict[str, str] | None = None) -> float:
    """Return what benchmarks.allocator measures in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.allocator", *arguments]
    return float(subprocess.run(words, env=environ, check=True, capture_output=True, text=True).stdout)


def waiting(_data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Threads that wait for each other asleep, as the command has them, and awake, as OpenMP does.

    Alone, while other programs compute on every second processor, and while two do on each.
    """
    rows: list[Row] = []
    if device.type != "cpu":
        return rows
    quick, awake = ({**PLAIN, "GOMP_SPINCOUNT": count} for count in (SPINS, LIBGOMP_SPINS))
    digits = partial(epoch_seconds, scratch / "waiting")
    passes = partial(forward_seconds, "mobilenet_v2", "keep")
    told = f"{processors()} threads each"
    epochs, forward = ("`digits`, an epoch", digits), ("evaluation, mobilenet_v2", passes)
    for company, works in (
        (0, (epochs, forward)),
        (max(1, processors() // 2), (epochs, forward)),
        (2 * processors(), (epochs,)),
    ):
        beside = f"beside {company} busy program{'s' * (company > 1)}" if company else "alone"
        spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(company)]
        try:
            for work, took in works:
                found = ratios_of(partial(took, environ=quick), partial(took, environ=awake), rounds=3)
                rows.append(Row(f"{work}, {beside}", "OpenMP's threads as they come", *found, "", told))
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
    return rows


def epoch_seconds(out: Path, environ: dict[str, str]) -> float:
    """Median seconds of an epoch of `run digits`."""
    shutil.rmtree(out, ignore_errors=True)
    call(["run", "digits", "--epochs", "5", "--device", "cpu", "--out", str(out)], environ)
    return statistics.median(json.loads(line)["seconds"] for line in (out / "timings.jsonl").read_text().splitlines())


def command(_data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Seconds until the command line answers, and the share of a run that saving takes."""
    rows = []
    for arguments, limit in ((["--help"], 0.2), (["list"], 0.3)):
        best = min(seconds(partial(call, arguments, dict(os.environ)), device) for _ in range(5))
        rows.append(Row(f"`ignite-vision {arguments[0]}`", f"{limit} s", limit / best, f"{best:.2f} s", "≥ 1"))
    digits = ["run", "digits", "--epochs", "1", "--device", device.type, "--out", str(scratch / "short")]
    plain = [sys.executable, "-c", "from ignite_vision.cli import main; main()", *digits[:-1], str(scratch / "plain")]

    def start_up(arguments: list[str]) -> float:
        shutil.rmtree(arguments[-1], ignore_errors=True)
        return seconds(partial(subprocess.run, arguments, check=True, capture_output=True), device)

    mine = [sys.executable, "-m", "ignite_vision", *digits]
    found = ratios_of(partial(start_up, mine), partial(start_up, plain))
    against = "with Python's own garbage collection and exit"
    rows.append(Row("`run digits --epochs 1`", against, *found, "", f"{start_up(mine):.1f} s"))
    begin = time.perf_counter()
    digits = ["run", "digits", "--out", str(scratch / "digits"), "--epochs", "400", "--device", device.type]
    call(digits, dict(os.environ))
    whole = time.perf_counter() - begin
    lines = [json.loads(line) for line in (scratch / "digits" / "timings.jsonl").read_text().splitlines()]
    share = sum(line["save_seconds"] for line in lines) / whole
    rows.append(Row("saving checkpoints, whole run", "1 % of its time", 0.01 / max(share, 1e-6), f"{share:.2%}", "≥ 1"))
    return rows


def export(data: Path, scratch: Path, device: torch.device) -> list[Row]:
    """Exported files of a mobilenet_v2 with a trained head."""
    file, out = data / "weights" / "mobilenet_v2.pth", scratch / "exported"
    if not file.is_file() or importlib.util.find_spec("onnxscript") is None:
        print(f"{file} or the extra onnx is not there: no row about exports", file=sys.stderr)
        return []
    command = ["run", "caltech256", "--data", str(data / "caltech256"), "--out", str(out), "--epochs", "1"]
    call([*command, "--set", "model=mobilenet_v2", "--set", f"weights={file}"], dict(os.environ))
    return exported.rows_of(out, device)


def accuracies(data: Path, scratch: Path, _device: torch.device) -> list[Row]:
    """Heads on frozen networks against scikit-learn's: a page of its own, since it is no ratio of times."""
    if importlib.util.find_spec("timm") is None:
        print("timm is not installed: no page about heads", file=sys.stderr)
        return []
    tune_processor()
    heads.page(data, scratch)
    return []


def call(arguments: list[str], environ: dict[str, str]) -> None:
    """Run the command in a process of its own."""
    subprocess.run([sys.executable, "-m", "ignite_vision", *arguments], env=environ, check=True, capture_output=True)


def table(lines: list[str], device: torch.device) -> str:
    """Return the Markdown page."""
    facts = environment.record(device, pick_precision("auto", device))
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("python", "torch", "torchvision"))
    head = [
        f"# {facts['processor']}, {facts['threads']} threads, {datetime.date.today()}",
        "",
        f"`python -m benchmarks --device {device.type}` · {versions}",
        "How many times faster the first is than the second: the median over rounds in alternation, and its spread.",
        "",
        "| work | against | times faster | target | |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines]) + "\n"


GROUPS = {
    "small": small,
    "lightning": lightning,
    "frozen": frozen,
    "weights": weights,
    "features": features,
    "files": files,
    "forward": forward,
    "allocator": allocator,
    "waiting": waiting,
    "command": command,
    "export": export,
    "heads": accuracies,
}


def main() -> None:
    """Run what was asked for, print each row as it is found, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default=",".join(GROUPS), help="default: %(default)s")
    arguments = parser.parse_args()
    if "IGNITE_VISION_TEST_DATA" not in os.environ:
        parser.error("set IGNITE_VISION_TEST_DATA to the folder of real images")
    data, device = Path(os.environ["IGNITE_VISION_TEST_DATA"]), torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")  # nothing is found there from an earlier day
        for name in arguments.only.split(","):
            rows = GROUPS[name](data, Path(scratch), device)
            print("\n".join(row.markdown() for row in rows), flush=True)
            write_table(name, rows, device)


def write_table(group: str, rows: list[Row], device: torch.device) -> None:
    """Put a group's rows in place of its older ones, and write the page of all groups."""
    kind = environment.processor(device).replace(" ", "-").replace("(R)", "").lower()
    store = Path(__file__).parent / "results" / f"{device.type}-{kind}.json"
    groups = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    groups[group] = [row.markdown() for row in rows]
    store.write_text(json.dumps(groups, indent=1) + "\n", encoding="utf-8")
    page = table([line for name in GROUPS for line in groups.get(name, [])], device)
    store.with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
