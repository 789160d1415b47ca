"""Several processes give the numbers of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision import Recipe, Splits, datasets
from ignite_vision.data.containers import ArrayImages
from ignite_vision.errors import UserError
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.tables import json_plain
from ignite_vision.jobs import predict_split, train_and_evaluate
from ignite_vision.loading.batches import Order, in_order, shared, train_batch
from ignite_vision.loading.cache import Shards
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.system import distributed
from tests.helpers.children import CONTEXT
from tests.helpers.runs import built

SIZES = (1, 2, 3, 7, 11, 13, 40)
FILES = ("model.safetensors", "history.jsonl", "metrics.json", "predictions.csv")


def member(number, count, port, work, arguments, answers):
    """Be one of several processes: do the work, and answer with what it returns."""
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    try:
        if count > 1:
            distributed.join("gloo")
        answer = work(*arguments)
        if count > 1:
            distributed.part()
    except Exception as error:  # noqa: BLE001  (whatever it is, the test wants to see it)
        traceback.print_exc()
        answer = error
    answers.put((number, answer))


def together(count, work, *arguments):
    """Return what work(*arguments) returns in each of `count` processes, forked from one that has torch loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=member, args=(number, count, port, work, arguments, answers)) for number in range(count)
    ]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    return [found[number] for number in range(count)]


def images(n, val):
    """Return n training images of 8x8 pixels, and `val` for each of validation and test."""
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (n + 2 * val, 1, 8, 8), dtype=np.uint8))
    targets = torch.arange(n + 2 * val) % 3
    pool = ArrayImages(pixels, targets)
    indices = range(n + 2 * val)
    return Splits(
        train=pool.subset(indices[:n]),
        classes=("a", "b", "c"),
        val=pool.subset(indices[n : n + val]),
        test=pool.subset(indices[n + val :]),
    )


def data_72(_folder):
    """Return 72 images for training, 13 for validation."""
    return images(72, 13)


def network(num_classes):
    """Return a network with what is random or counts images: BatchNorm and Dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, num_classes)
    )


def trained(out, say=lambda _line: None, data=data_72, folder=None, **fields):
    """Train, evaluate, and return the weights."""
    fields = {"model": network, "epochs": 2, "batch_size": 12, "precision": "fp32", **fields}
    loaded = LoadedRecipe(Recipe(data=data, **fields), "tiny", "tiny", Path(__file__))
    run = prepare(loaded, {}, Options(out=out, data=folder, device="cpu", workers=0), say)
    train_and_evaluate(run, lambda *_: None)
    return {name: tensor.numpy() for name, tensor in run.model.state_dict().items()}


def all_evaluated():
    """Return what `evaluated` does for every size."""
    return [evaluated(n) for n in SIZES]


def evaluated(n):
    """Return predictions and metrics of an untrained network on n images."""
    torch.manual_seed(0)
    recipe = Recipe(data=lambda _folder: images(4, n), model=network, epochs=1, batch_size=4, precision="fp32")
    loaded = LoadedRecipe(recipe, "tiny", "tiny", Path(__file__))
    run = prepare(loaded, {}, Options(device="cpu", workers=0), lambda _line: None)
    predictions = predict_split(built(run), "val")
    return predictions.logits.numpy(), json_plain(metrics(predictions, "val"))


@pytest.mark.slow
def test_evaluation_gives_the_same_bits_on_one_two_and_three_processes():
    (whole,) = together(1, all_evaluated)
    assert [len(logits) for logits, _ in whole] == list(SIZES)
    for count in (2, 3):
        for answer in together(count, all_evaluated):
            for (logits, numbers), (other_logits, other_numbers) in zip(whole, answer, strict=True):
                assert np.array_equal(other_logits, logits)
                assert other_numbers == numbers


@pytest.mark.slow
def test_all_processes_end_with_the_same_weights(tmp_path):
    first, *others = together(3, trained, tmp_path / "run")
    for other in others:
        assert all(np.array_equal(other[name], tensor) for name, tensor in first.items())


def data_unequal(_folder):
    """Return 72 images for training, of which class c has 12."""
    whole = images(108, 13)
    few = torch.nonzero((whole.train.targets < 2) | (torch.arange(108) < 36))[:72, 0]
    return Splits(whole.train.subset(few), whole.val, whole.test, whole.classes)


@pytest.mark.slow
@pytest.mark.parametrize("balance", [{}, {"class_weights": "balanced"}, {"sampler": "balanced"}])
def test_two_processes_train_as_one_does_but_for_rounding(tmp_path, balance):
    def history(out):
        return (out / "history.jsonl").read_text()

    fields = {"model": linear, "optimizer": "sgd", "data": data_unequal if balance else data_72, **balance}
    together(1, one, tmp_path / "one", fields)
    together(2, one, tmp_path / "two", fields)
    rows = [[json.loads(line) for line in history(tmp_path / name).splitlines()] for name in ("one", "two")]
    for row, other in zip(*rows, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
        assert row["val_accuracy"] == other["val_accuracy"]


def backbone(num_classes):
    """Return a network whose head can be separated."""
    below = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(below, nn.Linear(144, num_classes))


def data_600(_folder):
    """Return 600 images for training: three files of a cache."""
    return images(600, 16)


def trained_head(out, cache):
    """Train a head alone, with a cache folder of this run; the weights, and how many files this process wrote."""
    os.environ["XDG_CACHE_HOME"] = f"{out}-cache"
    written = []
    write = Shards.write

    def counted(shards, k, rows):
        written.append(k)
        write(shards, k, rows)

    Shards.write = counted
    fields = {"model": backbone, "trainable": "head", "batch_size": 16, "cache": cache}
    return trained(out, data=data_600, **fields), len(written)


@pytest.mark.slow
def test_features_are_computed_by_all_processes_and_change_nothing(tmp_path):
    (weights, mine), (_, others) = together(2, trained_head, tmp_path / "features", "features")
    assert mine > 0 and others > 0
    (expected, _), _ = together(2, trained_head, tmp_path / "none", "none")
    assert all(np.array_equal(weights[name], tensor) for name, tensor in expected.items())


def linear(num_classes):
    """Return a network in which no image sees another."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


def one(out, fields):
    """Train with these fields."""
    trained(out, **fields)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_order_of_the_images_does_not_depend_on_the_number_of_processes(count):
    whole = list(Order(50, 12, 0, lambda: 0))
    parts = [list(Order(50, 12, 0, lambda: 0, share=(number, count))) for number in range(count)]
    for k, (epoch, index) in enumerate(whole):
        assert np.array_equal(np.concatenate([part[k][1] for part in parts]), index)
        assert all(part[k][0] == epoch for part in parts)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_process_evaluates_as_many_batches_and_every_image_once(count):
    requests = in_order(range(37), 8)
    parts = [shared(requests, number, count) for number in range(count)]
    assert len({len(part) for part in parts}) == 1
    assert [i for part in parts for _, index in part for i in index] == list(range(37))


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "count", lambda: 3)
    recipe = Recipe(data=data_72, model=network, epochs=1, batch_size=64)
    with pytest.raises(UserError, match="batches of 64 images cannot be shared equally by 3 processes") as refusal:
        train_batch(recipe, 1000)
    assert "--batch-size 66" in str(refusal.value)
    assert train_batch(recipe, 50) == 48  # all that there are


def visible_gpus():
    """Return what a process of several on the CPU may see of GPUs."""
    return os.environ["CUDA_VISIBLE_DEVICES"], torch.cuda.device_count()


@pytest.mark.slow
def test_processes_on_the_cpu_see_no_gpu():
    assert together(2, visible_gpus) == [("", 0)] * 2


def stop_where_told(run):
    """Send this process a signal where the environment says so."""

    @run.trainer.on(Events.ITERATION_COMPLETED)
    def stop(trainer):
        if f"{distributed.rank()} {trainer.state.iteration}" == os.environ["STOP"]:
            os.kill(os.getpid(), signal.SIGTERM)


def with_a_stop(out, at, rank):
    """Train until iteration `at`, where process `rank` alone gets a signal."""

    os.environ["STOP"] = f"{rank} {at}"  # not captured: another place to stop would make another recipe
    trained(out, epochs=3, handlers=stop_where_told)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "at", "rank"), [(2, 1, 0), (2, 6, 1), (2, 9, 1), (2, 17, 0), (3, 4, 2)])
def test_a_run_stopped_and_resumed_on_as_many_processes_ends_with_the_same_bytes(tmp_path, count, at, rank):
    together(count, with_a_stop, tmp_path / "whole", 0, 0)
    stops = together(count, with_a_stop, tmp_path / "parts", at, rank)
    assert all(stop.code == 75 and f"iteration {at}, saved" in stop.what for stop in stops), stops
    resumed = together(count, with_a_stop, tmp_path / "parts", 0, 0)
    assert not any(isinstance(answer, BaseException) for answer in resumed), resumed
    for file in FILES:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


# ----------------------------------------------------------------------------------------------------------------------
# the command
# ----------------------------------------------------------------------------------------------------------------------

RECIPE = '''"""Noise; process $RANK_THAT_ENDS ends as $HOW says at iteration 7, once."""
import os, random, signal, time
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision import Recipe, Splits
from ignite_vision.system import distributed


class Noise(torch.utils.data.Dataset):
    def __init__(self, n):
        self.targets = [i % 3 for i in range(n)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        shift = random.random() + np.random.rand() + torch.rand(1).item()
        image = torch.full((1, 8, 8), 80 * self.targets[i], dtype=torch.uint8)
        return image + int(10 * shift), self.targets[i]


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, num_classes)
        )

    def forward(self, x):
        return self.layers(x)


def data(_folder):
    return Splits(train=Noise(48), val=Noise(7), test=Noise(11), classes=("a", "b", "c"))


def handlers(run):
    @run.trainer.on(Events.ITERATION_COMPLETED)
    def end(trainer):
        how = os.environ.get("HOW", "")
        if trainer.state.iteration != 7 or distributed.rank() != int(os.environ.get("RANK_THAT_ENDS", -1)):
            return
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        if how == "stall":
            time.sleep(1000)
        if how == "raise":
            raise RuntimeError("a bug of mine")


recipe = Recipe(data=data, model=Net, epochs=3, batch_size=12, precision="fp32", handlers=handlers)
'''


@pytest.fixture
def command(tmp_path):
    """Return a function that runs the recipe above in processes of its own: (exit code, stderr)."""
    (tmp_path / "noise_recipe.py").write_text(RECIPE)

    def run(out, *arguments, launcher=("-m", "ignite_vision"), **environ):
        words = [*launcher, "run", str(tmp_path / "noise_recipe.py"), "--out", str(tmp_path / out), *arguments]
        done = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
            capture_output=True,
            text=True,
            timeout=400,
        )
        print(done.stderr)  # shown where a test fails
        return done.returncode, done.stderr

    return run


def same_files(one, other):
    """Whether two runs ended with the same bytes."""
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in FILES)


# workers take seconds to start beside several processes: one test has some
TWO = ("--nproc-per-node", "2", "--checkpoint-every", "3", "--workers", "0")


@pytest.mark.slow
def test_a_run_killed_on_two_processes_goes_on_to_the_same_bytes_with_workers_as_well(command, tmp_path):
    assert command("whole", *TWO)[0] == 0
    code, errors = command("parts", *TWO, "--workers", "1", HOW="kill", RANK_THAT_ENDS="1")
    assert code == 75
    assert errors.splitlines()[-1].startswith("error: process 1 of 2 was killed by SIGKILL. Run the same command again")
    code, errors = command("parts", *TWO, HOW="term", RANK_THAT_ENDS="1")
    assert (code, "resumed    from step 6" in errors) == (75, True)
    assert "stopped by SIGTERM after iteration 7, saved" in errors
    assert command("parts", *TWO, "--workers", "1")[0] == 0
    assert same_files(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_ends_all_and_its_cause_is_named(command, rank):
    code, errors = command("run", *TWO, HOW="raise", RANK_THAT_ENDS=str(rank))
    assert code == 1
    assert "RuntimeError: a bug of mine" in errors
    assert errors.count("Traceback (most recent call last)") == 1


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_not_waited_for_for_ever(command):
    code, errors = command("run", *TWO, HOW="stall", RANK_THAT_ENDS="1", IGNITE_VISION_PATIENCE="5")
    assert code == 75
    assert "another process ended, or did not answer in time" in errors


@pytest.mark.slow
def test_what_is_wrong_for_all_is_said_once(command):
    code, errors = command("run", *TWO, "--batch-size", "13")
    assert code == 2
    assert errors.count("error: batches of 13 images cannot be shared equally by 2 processes") == 1


@pytest.mark.slow
def test_a_directory_that_cannot_be_written_ends_all(command, tmp_path):
    (tmp_path / "run").write_text("a file")
    code, errors = command("run", *TWO)
    assert (code, errors.count("error:")) == (2, 1)
    assert "--out is a file" in errors


@pytest.mark.slow
def test_torchrun_gives_the_same_bytes_and_another_number_of_processes_is_not_exact(command, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ignite_vision")
    assert command("spawned", *TWO)[0] == 0
    assert command("torchrun", *TWO[2:], launcher=torchrun, HOW="kill", RANK_THAT_ENDS="0")[0] == 1
    code, errors = command("torchrun", launcher=torchrun, HOW="term", RANK_THAT_ENDS="1")
    assert code == 1  # torchrun's own, whatever the reason
    assert "stopped by SIGTERM after iteration 7, saved" in errors
    assert command("torchrun", launcher=torchrun)[0] == 0
    assert same_files(tmp_path / "spawned", tmp_path / "torchrun")
    before = (tmp_path / "spawned" / "predictions.csv").read_bytes()
    evaluate = [sys.executable, "-m", "ignite_vision", "evaluate", str(tmp_path / "spawned"), *TWO[:2]]
    assert subprocess.run(evaluate, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 0
    assert (tmp_path / "spawned" / "predictions.csv").read_bytes() == before
    code, errors = command("spawned", "--epochs", "4")
    assert code == 0
    assert "no longer bit-exact from here; changed since the run began: processes: 2 -> 1" in errors
    assert json.loads((tmp_path / "spawned" / "metrics.json").read_text())["exact"] is False


def skipping(out, folder):
    """Train on photographs of which some are broken; what was said, and the rows of splits.csv."""
    said = []
    weights = trained(out, said.append, datasets.image_folder, model="cifar10_cnn", on_bad_image="skip", folder=folder)
    return weights, [line for line in said if "skipped" in line], (out / "splits.csv").read_text()


def test_two_processes_skip_what_one_skips(image_folder, tmp_path):
    for name in ("apple/03.jpg", "apple/04.jpg", "cherry/07.jpg"):
        path = image_folder / name
        path.write_bytes(path.read_bytes()[:-40])
    ((_, said, rows),) = together(1, skipping, tmp_path / "one", image_folder)
    first, second = together(2, skipping, tmp_path / "two", image_folder)
    assert first[1] == said and len(said) == 1
    assert first[2] == second[2] == rows
    assert all((first[0][name] == second[0][name]).all() for name in first[0])
