"""What can go wrong around a run, each thing made to happen: what is said, what is kept, and how it goes on."""

import dataclasses
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from ignite.engine import Events

from ignite_vision.errors import UserError
from ignite_vision.jobs import train_and_evaluate
from ignite_vision.run_directory import RunDirectory
from ignite_vision.training.checkpoint import seal, steps
from ignite_vision.training.history import History
from tests.helpers.children import STUBBORN, At, assert_same, goes_on, run, start
from tests.helpers.runs import said

pytestmark = pytest.mark.usefixtures("children")
slow = pytest.mark.slow
KILLED = -signal.SIGKILL


def train(make_run, **fields):
    one = make_run(**fields)
    train_and_evaluate(one, lambda *_: None)
    return one


def error_of(result, code):
    """The one line of an error, and no traceback."""
    returned, text = result
    lines = [line for line in text.splitlines() if line.startswith("error:")]
    assert (returned, len(lines)) == (code, 1), text
    assert "Traceback" not in text
    return lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, children):
    """The run that nothing happened to: 4 epochs of 8 iterations, an optimizer step every second."""
    out = tmp_path_factory.mktemp("whole") / "run"
    goes_on(out)
    return out


@pytest.fixture(scope="module")
def half(tmp_path_factory, children):
    """A run that was killed in iteration 21, with checkpoints of iterations 16 (validated) and 20."""
    out = tmp_path_factory.mktemp("half") / "run"
    assert run("run", STUBBORN, "--out", out, "--checkpoint-every", 4, plan=At("ITERATION_COMPLETED", 21))[0] == KILLED
    assert [path.name for path in steps(out / "checkpoints")] == ["step-0000000016-validated", "step-0000000020"]
    return out


@pytest.fixture
def out(half, tmp_path):
    """A copy of it, to do damage to."""
    shutil.copytree(half, tmp_path / "run")
    return tmp_path / "run"


@dataclasses.dataclass(frozen=True)
class Do:
    """A plan: call a function of a run when an event fires for the nth time."""

    event: str
    nth: int
    action: object

    def __call__(self):
        from ignite_vision import training

        before, counter = training.count_training, itertools.count(1)

        def hooked(run):
            @run.trainer.on(getattr(Events, self.event))
            def act():
                if next(counter) == self.nth:
                    self.action(run)

            return before(run)

        training.count_training = hooked


class TestDamage:
    @slow
    def test_a_hundred_flipped_bits_are_each_named_and_change_nothing(self, make_run, tmp_path, monkeypatch):
        """Checkpoints after epochs 1 and 2 of 3; the bit is anywhere in the second."""
        fields = {"epochs": 3, "schedule": "cosine", "patience": 3}
        begun, rng = tmp_path / "begun", random.Random(0)

        monkeypatch.setenv("COPY_TO", str(begun))
        uninterrupted = train(make_run, out=tmp_path / "whole", handlers=save_and_copy, **fields)
        monkeypatch.delenv("COPY_TO")
        files = [path.name for path in steps(begun / "checkpoints")[-1].iterdir()]
        for n in range(100):
            out = shutil.copytree(begun, tmp_path / f"run{n}")
            path = steps(out / "checkpoints")[-1] / files[n % len(files)]
            data = bytearray(path.read_bytes())
            bit = rng.randrange(8 * len(data))
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            again = train(make_run, out=out, handlers=save_and_copy, **fields)
            assert any(f"skipping damaged checkpoint {path.parent}: " in line for line in said(again)), said(again)
            assert any("resumed    from step 4," in line for line in said(again))
            for name in ("model.safetensors", "history.jsonl", "metrics.json", "predictions.csv"):
                assert (out / name).read_bytes() == (uninterrupted.directory / name).read_bytes()
            shutil.rmtree(out)

    @slow
    @pytest.mark.parametrize("name", ["model.safetensors", "best.safetensors", "train.pt", "manifest.json"])
    @pytest.mark.parametrize("left", [0, 0.25, 0.5, 0.9, 0.999, "zeros", "gone"])
    def test_a_file_cut_off_filled_with_zeros_or_gone(self, out, whole, name, left):
        path = steps(out / "checkpoints")[-1] / name
        data = path.read_bytes()
        if left == "gone":
            path.unlink()
        elif left == "zeros":
            path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        else:
            path.write_bytes(data[: int(left * len(data))])
        text = goes_on(out)
        assert f"skipping damaged checkpoint {path.parent}: {name}" in text
        assert "resumed    from step 16" in text
        assert_same(out, whole)

    def test_half_a_line_at_the_end_of_the_history_is_dropped(self, make_run):
        one = train(make_run, epochs=1)
        path = one.directory / "history.jsonl"
        with path.open("a") as file:
            file.write('{"epoch": 2, "ite')
        train(make_run, epochs=3)
        history = History(path)
        history.read()
        assert [row.epoch for row in history.rows] == [1, 2, 3]

    def test_the_manifest_of_another_program_of_two_gigabytes_is_not_read(self, make_run):
        one = train(make_run)
        with (steps(one.directory / "checkpoints")[-1] / "manifest.json").open("wb") as file:
            file.truncate(2 << 30)  # sparse
        with pytest.raises(UserError, match=r"manifest\.json is too large"):
            train(make_run, epochs=3)

    def test_a_tensor_that_repeats_its_storage_a_trillion_times_is_refused(self, make_run):
        one = train(make_run)
        last = steps(one.directory / "checkpoints")[-1]
        states = torch.load(last / "train.pt", weights_only=True)
        states["sums"]["loss"] = torch.zeros(1).as_strided((1 << 40,), (0,))
        torch.save(states, last / "train.pt")
        forge(last, "train.pt")
        with pytest.raises(
            UserError, match=r"a tensor of shape \(1099511627776,\) claims more than it holds"
        ) as failure:
            train(make_run, epochs=3)
        assert failure.value.code == 3

    def test_a_pickle_named_model_safetensors_is_not_run(self, make_run, tmp_path, monkeypatch):
        class Malice:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "canary"),)

        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        one = train(make_run)
        last = steps(one.directory / "checkpoints")[-1]
        torch.save({"weight": Malice()}, last / "model.safetensors")
        forge(last, "model.safetensors")
        with pytest.raises(UserError, match="does not fit") as failure:
            train(make_run, epochs=3)
        assert failure.value.code == 3
        assert not (tmp_path / "canary").exists()


def save_and_copy(run):
    """Save before epochs 2 and 3, and keep a copy of the run at the latter, where the environment says."""

    @run.trainer.on(Events.EPOCH_STARTED(event_filter=lambda _, epoch: epoch in (2, 3)))
    def save():
        run.save()
        if run.trainer.state.epoch == 3 and "COPY_TO" in os.environ:
            shutil.copytree(run.directory, os.environ["COPY_TO"])


def forge(checkpoint, name):
    """Have the manifest say that a file is as it was written."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    data = (checkpoint / name).read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["seal"] = seal(manifest)
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leave no byte free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


@dataclasses.dataclass(frozen=True)
class Fill:
    """Fill the disk that a run is on."""

    def __call__(self, run):
        fill(run.directory.path.parent)


@dataclasses.dataclass(frozen=True)
class Free:
    def __call__(self, run):
        (run.directory.path.parent / "filler").unlink()


@dataclasses.dataclass(frozen=True)
class Both:
    one: object
    other: object

    def __call__(self):
        self.one()
        self.other()


@slow
class TestFullDisk:
    def test_from_the_start(self, disk, whole):
        fill(disk)
        error = error_of(run("run", STUBBORN, "--out", disk / "run"), 4)
        assert "No space left" in error or "the disk is full" in error
        (disk / "filler").unlink()
        goes_on(disk / "run")
        assert_same(disk / "run", whole)

    @pytest.mark.parametrize("iteration", [5, 13, 31])
    def test_from_some_moment_on_it_trains_on_and_the_last_save_is_the_error(self, disk, whole, iteration):
        out = disk / "run"
        fills = Do("ITERATION_COMPLETED", iteration, Fill())
        result = run("run", STUBBORN, "--out", out, "--checkpoint-every", 4, plan=fills)
        error = error_of(result, 4)
        assert "iteration 32 is not saved: the disk is full" in error
        assert "MB are free; earlier checkpoints are kept." in error
        assert "epoch 4/4" in result[1]
        assert "Training continues." in result[1]
        assert not list((out / "checkpoints").glob(".*"))
        (disk / "filler").unlink()
        assert "resumed    from step" in goes_on(out)
        assert_same(out, whole)

    def test_for_a_while(self, disk, whole):
        out = disk / "run"
        plan = Both(Do("ITERATION_COMPLETED", 9, Fill()), Do("ITERATION_COMPLETED", 21, Free()))
        code, text = run("run", STUBBORN, "--out", out, "--checkpoint-every", 4, plan=plan)
        assert code == 0, text
        assert "Training continues." in text
        assert_same(out, whole)

    def test_a_limit_on_the_size_of_files_is_said_in_words(self, tmp_path, whole):
        result = run("run", STUBBORN, "--out", tmp_path / "run", plan=limit_files)
        error = error_of(result, 4)
        assert "iteration 32 is not saved: a file could not be written to its end" in error
        goes_on(tmp_path / "run")
        assert_same(tmp_path / "run", whole)

    def test_a_disk_that_is_read_only(self, disk):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert "cannot write the run directory" in error_of(run("run", STUBBORN, "--out", disk / "run"), 2)


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # bytes; as `ulimit -f`


@dataclasses.dataclass(frozen=True)
class Delete:
    name: str

    def __call__(self, run):
        shutil.rmtree(run.directory / self.name)


@dataclasses.dataclass(frozen=True)
class Replace:
    """Put a file where a folder is."""

    name: str

    def __call__(self, run):
        shutil.rmtree(run.directory / self.name, ignore_errors=True)
        (run.directory / self.name).write_text("")


@slow
class TestDirectory:
    @pytest.mark.parametrize("name", ["checkpoints", ""])
    @pytest.mark.parametrize("every", [4, 1000])
    def test_deleted_while_it_trains(self, tmp_path, whole, name, every):
        out = tmp_path / "run"
        deletes = Do("ITERATION_COMPLETED", 21, Delete(name))
        code, text = run("run", STUBBORN, "--out", out, "--checkpoint-every", every, plan=deletes)
        assert code == 0, text
        assert_same(out, whole)

    def test_what_lies_about_among_the_checkpoints_is_ignored_or_cleaned_up(self, out, whole):
        folder = out / "checkpoints"
        (folder / "notes.txt").write_text("mine")
        shutil.copytree(folder / "step-0000000020", folder / ".tmp-step-0000000024")
        shutil.copytree(folder / "step-0000000020", folder / ".del-step-0000000012")
        shutil.copytree(folder / "step-0000000020", folder / "damaged-step-0000000012-1")
        (folder / "step-0000000099").write_text("no folder")
        goes_on(out)
        left = {path.name for path in folder.iterdir()}
        assert left >= {"notes.txt", "damaged-step-0000000012-1", "step-0000000099"}
        assert not [name for name in left if name.startswith(".")]
        (folder / "step-0000000099").unlink()
        assert_same(out, whole)

    def test_dates_of_files_and_the_time_zone_mean_nothing(self, out, whole):
        for age, path in enumerate(steps(out / "checkpoints")):
            for file in (path, *path.iterdir()):
                os.utime(file, (1e9 - 1e6 * age, 1e9 - 1e6 * age))  # the newest looks oldest
        assert "resumed    from step 20" in goes_on(out, TZ="Pacific/Kiritimati")
        assert_same(out, whole)

    def test_of_two_commands_on_one_directory_exactly_one_runs(self, tmp_path):
        for n in range(6):
            out = tmp_path / f"run{n}"
            two = [start("run", STUBBORN, "--out", out, "--epochs", 60) for _ in range(2)]
            codes = sorted(child.wait() for child in two)
            assert codes == [0, 2], [child.text for child in two]
            (refused,) = (child for child in two if child.process.exitcode == 2)
            assert "in use by" in error_of((2, refused.text), 2)

    def test_killed_with_workers_it_starts_again_at_once(self, tmp_path, whole):
        out = tmp_path / "run"
        child = start("run", STUBBORN, "--out", out, "--workers", 2, plan=At("ITERATION_COMPLETED", 5))
        assert child.wait() == KILLED
        goes_on(out, "--workers", 2)
        assert_same(out, whole)


@slow
class TestTensorBoard:
    @pytest.mark.parametrize(
        "plan",
        [
            Do("STARTED", 1, Replace("tensorboard")),
            Do("ITERATION_COMPLETED", 21, Delete("tensorboard")),
            Do("ITERATION_COMPLETED", 21, Replace("tensorboard")),
        ],
        ids=["a-file", "deleted", "replaced"],
    )
    def test_its_folder_may_be_anything_and_training_goes_on(self, tmp_path, whole, plan):
        code, text = run("run", STUBBORN, "--out", tmp_path / "run", plan=plan)
        assert code == 0, text
        assert text.count("no more curves for TensorBoard") <= 1
        assert_same(tmp_path / "run", whole)

    def test_without_the_package_there_is_one_warning(self, tmp_path, whole):
        code, text = run("run", STUBBORN, "--out", tmp_path / "run", plan=forget_tensorboardx)
        assert (code, text.count("no more curves for TensorBoard")) == (0, 1), text
        assert_same(tmp_path / "run", whole)


def forget_tensorboardx():
    for name in [name for name in sys.modules if name.startswith("tensorboardX")]:
        del sys.modules[name]
    sys.modules["tensorboardX"] = None


class TestChanges:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("seed", 1), ("lr", 0.01), ("batch_size", 8), ("patience", 2), ("schedule", "cosine"), ("split_seed", 1)],
    )
    def test_a_changed_field_is_refused_by_name(self, make_run, field, value):
        train(make_run, epochs=1)
        with pytest.raises(UserError, match=rf"{field}: .* -> ") as failure:
            train(make_run, epochs=2, **{field: value})
        assert failure.value.code == 2

    @slow
    def test_data_that_changed_is_named(self, image_folder, tmp_path):
        out = tmp_path / "run"
        options = ["--data", image_folder, "--out", out, "--epochs", 1, "--set", "model=resnet18"]
        options += ["--set", "weights=none", "--set", "image_size=32", "--set", "trainable=all"]
        assert run("run", "folder", *options)[0] == 0
        options[5] = 2
        first = image_folder / "apple" / "00.jpg"

        def added():
            shutil.copyfile(first, image_folder / "banana" / "new.jpg")
            return (image_folder / "banana" / "new.jpg").unlink

        def removed():
            first.rename(tmp_path / "kept.jpg")
            return lambda: (tmp_path / "kept.jpg").rename(first)

        def renamed():
            first.rename(first.with_name("zz.jpg"))
            return lambda: first.with_name("zz.jpg").rename(first)

        def resized():
            data = first.read_bytes()
            first.write_bytes(data + b"\0")
            return lambda: first.write_bytes(data)

        def class_added():
            shutil.copytree(image_folder / "apple", image_folder / "damson")
            return lambda: shutil.rmtree(image_folder / "damson")

        for change, parts in (
            (added, ("1 new, the first 'banana/new.jpg'",)),
            (removed, ("1 gone, the first 'apple/00.jpg'",)),
            (renamed, ("1 gone, the first 'apple/00.jpg'", "1 new, the first 'apple/zz.jpg'")),
            (resized, ("'apple/00.jpg': ", "bytes")),
            (class_added, ("12 new, the first 'damson/00.jpg'",)),
        ):
            undo = change()
            error = error_of(run("run", "folder", *options), 2)
            for part in parts:
                assert part in error
            undo()
        assert run("run", "folder", *options)[0] == 0

    @slow
    def test_a_file_replaced_by_one_of_its_size_is_found_where_files_are_hashed(self, image_folder, tmp_path):
        out = tmp_path / "run"
        options = ["--data", image_folder, "--out", out, "--epochs", 1, "--set", "model=resnet18"]
        options += ["--set", "weights=none", "--set", "image_size=32", "--set", "trainable=all", "--verify-data"]
        assert run("run", "folder", *options)[0] == 0
        options[5] = 2
        first = image_folder / "apple" / "00.jpg"
        data = first.read_bytes()
        first.write_bytes(data[:-12] + bytes([data[-12] ^ 1]) + data[-11:])
        assert "the content of a file changed" in error_of(run("run", "folder", *options), 2)
        first.write_bytes(data)
        assert run("run", "folder", *options)[0] == 0

    @slow
    @pytest.mark.parametrize(("key", "old"), [("torch", "1.0"), ("threads", 64)])
    def test_another_environment_is_named_and_the_run_is_not_exact_from_then_on(self, out, key, old):
        path = out / "run.json"
        true = path.read_text()
        settings = json.loads(true)
        (settings["environment"]["versions"] if key == "torch" else settings["environment"])[key] = old
        path.write_text(json.dumps(settings))
        options = ("--out", out, "--checkpoint-every", 2)
        code, text = run("run", STUBBORN, *options, plan=At("ITERATION_COMPLETED", 7))
        assert code == KILLED
        (warning,) = (line for line in text.splitlines() if "no longer bit-exact" in line)
        assert f"{key}: {old} -> " in warning
        path.write_text(true)  # as it was: what was computed in between stays as it is
        assert "no longer bit-exact" not in goes_on(out)
        assert json.loads((out / "metrics.json").read_text())["exact"] is False
        last = steps(out / "checkpoints")[-1]
        assert json.loads((last / "manifest.json").read_text())["exact"] is False


STUCK = """
import time
from pathlib import Path
from tests.helpers.stubborn import Restless, recipe
import dataclasses
from torch.utils.data import get_worker_info
from ignite_vision import Splits

class Stuck(Restless):
    def __getitem__(self, i):
        if i == 40 and get_worker_info() and Path(__file__).with_name("hang").exists():
            time.sleep(600)
        return super().__getitem__(i)

def data(folder):
    return Splits(train=Stuck(108), classes=("dark", "middle", "bright"))

recipe = dataclasses.replace(recipe, data=data)
"""


@slow
class TestSignals:
    def test_stopped_for_a_while_and_continued(self, tmp_path, whole):
        child = start("run", STUBBORN, "--out", tmp_path / "run", "--workers", 2)
        child.wait_for("training  ")
        child.signal_group(signal.SIGSTOP)
        time.sleep(2)
        child.signal_group(signal.SIGCONT)
        assert child.wait() == 0
        assert_same(tmp_path / "run", whole)

    def test_sigterm_to_the_whole_group_at_random_moments(self, tmp_path):
        whole, rng = tmp_path / "whole", random.Random(0)
        options = ("--epochs", 12, "--set", "patience=none")
        goes_on(tmp_path / "warm", "--epochs", 1)  # the first of all children waits for the server to import torch
        begin = time.monotonic()
        goes_on(whole, *options, "--workers", 2)
        seconds, stopped = time.monotonic() - begin, 0
        for n in range(10):
            out = tmp_path / f"run{n}"
            child = start("run", STUBBORN, "--out", out, *options, "--workers", 2)
            child.wait_for("data  ")  # within what a signal is caught in
            time.sleep(rng.uniform(0, 0.8 * seconds))
            if not child.process.is_alive():
                continue
            child.signal_group(signal.SIGTERM)
            code = child.wait(20)
            assert code in (75, 0), child.text
            assert "Traceback" not in child.text
            child.expect_nothing_left()
            stopped += code == 75
            goes_on(out, *options)
            assert_same(out, whole)
        assert stopped > 3

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_twice_within_a_tenth_of_a_second(self, out, whole, number):
        before = [path.name for path in steps(out / "checkpoints")]
        child = start("run", STUBBORN, "--out", out, "--workers", 2)
        child.wait_for("resumed  ")
        child.signal(number)
        time.sleep(0.05)
        if child.process.is_alive():
            child.signal(number)
        assert child.wait(20) in (75, 130, 128 + number), child.text
        assert "Traceback" not in child.text
        assert steps(out / "checkpoints")[0].name >= before[0]
        child.expect_nothing_left()
        goes_on(out)
        assert_same(out, whole)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("event", ["STARTED", "GET_BATCH_STARTED"])
    def test_before_the_first_iteration(self, tmp_path, whole, number, event):
        out = tmp_path / "run"
        code, text = run("run", STUBBORN, "--out", out, "--workers", 2, plan=At(event, 1, number=number))
        assert code == (130 if number == signal.SIGINT else 75), text
        assert "Traceback" not in text
        goes_on(out)
        assert_same(out, whole)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_while_the_program_is_imported(self, tmp_path, number):
        for tenths in (4, 8, 15, 25):
            arguments = [sys.executable, "-m", "ignite_vision", "run", "digits", "--out", str(tmp_path / "run")]
            process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            time.sleep(tenths / 10)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            assert process.returncode in (75, 130, -number), err
            assert "Traceback" not in err

    def test_a_worker_that_hangs_is_left_behind_within_fifteen_seconds(self, tmp_path):
        recipe = tmp_path / "stuck.py"
        recipe.write_text(STUCK)
        environ = {"PYTHONPATH": str(STUBBORN.parent)}
        whole, out = tmp_path / "whole", tmp_path / "run"
        goes_on(whole, recipe=recipe, **environ)
        (tmp_path / "hang").touch()
        child = start("run", recipe, "--out", out, "--workers", 2, **environ)
        child.wait_for("training  ")
        time.sleep(1)
        begin = time.monotonic()
        child.signal_group(signal.SIGTERM)
        assert child.wait(15) == 75, child.text
        assert time.monotonic() - begin < 15
        assert "saved. Resume with" in child.text
        assert "Traceback" not in child.text
        child.expect_nothing_left()
        (tmp_path / "hang").unlink()
        goes_on(out, recipe=recipe, **environ)
        assert_same(out, whole)

    def test_a_worker_that_was_killed_is_one_line_and_the_run_goes_on_later(self, tmp_path):
        whole, out = tmp_path / "whole", tmp_path / "run"
        # within an optimizer step nothing is saved then: a checkpoint from before must be there to resume from
        options = ("--epochs", 40, "--set", "patience=none", "--checkpoint-every", 4)
        goes_on(whole, *options)
        child = start("run", STUBBORN, "--out", out, *options, "--workers", 2)
        child.wait_for("epoch  2/40")
        workers = [pid for pid in child.left_over() if pid != child.process.pid]
        assert workers
        os.kill(workers[0], signal.SIGKILL)
        error = error_of((child.wait(), child.text), 75)
        assert "a loader worker was killed" in error
        assert "--workers" in error
        child.expect_nothing_left()
        assert "resumed    from step" in goes_on(out, *options, "--workers", 2)
        assert_same(out, whole)


class TestNotFinite:
    def test_weights_that_are_not_finite_are_never_saved(self, make_run):
        def handlers(run):
            @run.trainer.on(Events.ITERATION_COMPLETED(once=6))
            def ruin():
                run.save()
                with torch.no_grad():
                    run.model[-1].bias.fill_(float("nan"))
                run.saver.saved = ""
                run.save()

        one = make_run(handlers=handlers)
        with pytest.raises(UserError, match="not finite in iteration 6 or before"):
            train_and_evaluate(one, lambda *_: None)
        (kept,) = steps(one.directory / "checkpoints")
        assert kept.name == "step-0000000006"


class TestBeginnings:
    def test_a_run_killed_before_its_settings_were_written_is_taken_up(self, tmp_path):
        for name in (".lock", "recipe.py", "splits.csv", ".run.json.tmp"):
            (tmp_path / name).touch()
        with RunDirectory(tmp_path).claimed():
            assert f"pid {os.getpid()} " in (tmp_path / ".lock").read_text()

    def test_a_folder_of_the_same_names_that_was_never_locked_is_not(self, tmp_path):
        (tmp_path / "recipe.py").write_text("precious")
        with pytest.raises(UserError, match="a folder but not a run directory"):
            RunDirectory(tmp_path).claimed().__enter__()

    def test_a_run_that_was_extended_and_killed_before_its_results_is_not_finished(self, make_run, monkeypatch):
        from ignite_vision import jobs as results

        train(make_run, epochs=1)
        with monkeypatch.context() as patched:
            patched.setattr(results, "finish", lambda run: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                train(make_run, epochs=2)
        assert not train_and_evaluate(make_run(epochs=2), lambda *_: None).finished_before


class TestFewImages:
    """Class folders that are odd in number: each trains, or says in one line what to do."""

    @pytest.fixture
    def folder(self, image_folder):
        return image_folder

    def train(self, folder, tmp_path):
        options = ["--data", folder, "--epochs", 1, "--set", "model=resnet18", "--set", "weights=none"]
        return run("run", "folder", *options, "--set", "image_size=32", "--out", tmp_path / "run")

    @slow
    def test_a_class_with_one_image_trains(self, folder, tmp_path):
        for path in sorted((folder / "apple").iterdir())[1:]:
            path.unlink()
        code, text = self.train(folder, tmp_path)
        assert code == 0, text
        assert "apple" in text

    @slow
    def test_a_class_that_only_validation_has_is_named(self, folder, tmp_path):
        split = tmp_path / "split"
        shutil.copytree(folder, split / "train")
        shutil.copytree(folder, split / "val")
        shutil.copytree(folder / "apple", split / "val" / "damson")
        assert "damson" in error_of(self.train(split, tmp_path), 2)
