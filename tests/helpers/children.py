"""The whole command in child processes that a test may kill, each in a process group of its own.

They are forked from a server that has imported torch but never run it: a child costs a third of a second, not four.
"""

import dataclasses
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ignite_vision.jobs", "ignite_vision.prepare", "tensorboardX", "torch._dynamo"])

STUBBORN = Path(__file__).parent / "stubborn.py"
RESULTS = (
    "splits.csv",
    "history.jsonl",
    "curves.svg",
    "per_class.csv",
    "confusion.csv",
    "coverage.csv",
    "predictions.csv",
    "metrics.json",
    "model.safetensors",
)
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")  # what Python announces


@dataclasses.dataclass
class Child:
    """A command that runs. code: its exit code, -9 if it was killed."""

    process: Any
    output: Path

    @property
    def text(self) -> str:
        """Everything that it has printed."""
        return self.output.read_text(errors="replace")

    @property
    def said(self) -> list[str]:
        return self.text.splitlines()

    def signal(self, number: int) -> None:
        """Send a signal to the command alone."""
        os.kill(self.process.pid, number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the command and its workers, as a terminal or a job queue does."""
        os.killpg(self.process.pid, number)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end and self.process.is_alive(), f"never said {text!r}: {self.text}"
            time.sleep(0.005)

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end. The exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still runs after {seconds} s: {self.text}"
        return int(self.process.exitcode)

    def expect_nothing_left(self, seconds: float = 2) -> None:
        """No process of its group is there any more: one that was sent SIGKILL takes a moment to go."""
        end = time.monotonic() + seconds
        while left := self.left_over():
            assert time.monotonic() < end, f"processes left over: {left}"
            time.sleep(0.02)

    def left_over(self) -> list[int]:
        """Processes of its group that are still there, other than zombies."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == self.process.pid and state != "Z":
                found.append(int(path.parent.name))
        return found


def start(*arguments: Any, plan: Callable[[], None] | None = None, **environ: str) -> Child:
    """Start `ignite-vision ARGUMENTS` in a child. plan: called in it first; environ: variables to set."""
    handle, output = tempfile.mkstemp(dir=os.environ["IGNITE_VISION_CHILDREN"])
    os.close(handle)
    homes = {name: value for name, value in os.environ.items() if name.startswith(("IGNITE_VISION", "XDG_"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process = CONTEXT.Process(target=_command, args=(list(map(str, arguments)), output, plan, homes | environ))
        process.start()
    return Child(process, Path(output))


def run(*arguments: Any, plan: Callable[[], None] | None = None, **environ: str) -> tuple[int, str]:
    """The same to its end: (exit code, what it printed)."""
    child = start(*arguments, plan=plan, **environ)
    return child.wait(), child.text


def _command(arguments: list[str], output: str, plan: Callable[[], None] | None, environ: dict[str, str]) -> None:
    os.setsid()
    os.environ.update(environ)
    handle = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in the command itself

    import torch

    from ignite_vision import cli

    torch.set_num_threads(1)
    sys.argv = ["ignite-vision", *arguments]
    if plan is not None:
        plan()
    cli.main()


# Plans: what is to happen in a child. Each makes a function without arguments, and can be pickled.


@dataclasses.dataclass(frozen=True)
class At:
    """Send this process a signal when an event of the trainer or the evaluator fires for the nth time.

    After everything else that happens at the event; first=True: before it.
    """

    event: str
    nth: int
    engine: str = "trainer"
    number: int = signal.SIGKILL
    first: bool = False

    def __call__(self) -> None:
        from ignite.engine import Events

        from ignite_vision import training

        counter = itertools.count(1)

        def hit() -> None:
            if next(counter) == self.nth:
                os.kill(os.getpid(), self.number)

        name = "count_training" if self.first else "restore"
        before = getattr(training, name)

        def hooked(run: Any, *others: Any) -> Any:
            getattr(run, self.engine).add_event_handler(getattr(Events, self.event), hit)
            return before(run, *others)

        setattr(training, name, hooked)


@dataclasses.dataclass(frozen=True)
class Each:
    """Call `action(operation, path)` before every operation of this process on files below a folder."""

    folder: Path
    action: Callable[[str, str], None]

    def __call__(self) -> None:
        inside = False

        def tell(operation: str, path: Any) -> None:
            nonlocal inside
            if inside or not str(path).startswith(str(self.folder)):
                return
            inside = True
            try:
                self.action(operation, str(path))
            finally:
                inside = False

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in OPERATIONS and not isinstance(arguments[0], int):
                tell(event, os.fsdecode(arguments[0]))

        def fsync(handle: int) -> None:
            tell("fsync", Path(f"/proc/self/fd/{handle}").readlink())
            real_fsync(handle)

        def save(thing: Any, path: Any, **options: Any) -> None:
            real_save(thing, path, **options)
            tell("written", path)

        import torch

        real_fsync, os.fsync = os.fsync, fsync
        real_save, torch.save = torch.save, save
        sys.addaudithook(hook)


class KillAt:
    """An action for Each: SIGKILL before the nth operation, one of torch's files cut in half if it is half written."""

    def __init__(self, nth: int):
        self.nth, self.seen = nth, 0

    def __call__(self, operation: str, path: str) -> None:
        self.seen += 1
        if self.seen == self.nth:
            if operation == "written":
                os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)


class WriteDown:
    """An action for Each: a line per operation, in a file elsewhere."""

    def __init__(self, log: Path):
        self.log = log

    def __call__(self, operation: str, path: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{operation} {path}\n")


class ExpectOneGood:
    """An action for Each: note it when no checkpoint verifies although there was one."""

    def __init__(self, checkpoints: Path, log: Path):
        self.checkpoints, self.log, self.had_one = checkpoints, log, False

    def __call__(self, operation: str, path: str) -> None:
        from ignite_vision.training.checkpoint import Damaged, steps, verify

        good = 0
        for step in steps(self.checkpoints):
            try:
                verify(step)
                good += 1
            except Damaged as damage:
                WriteDown(self.log)(f"damaged before {operation}: {damage}", path)
        if self.had_one and not good:
            WriteDown(self.log)(f"none before {operation}", path)
        self.had_one = self.had_one or good > 0


# What is compared.


def bytes_of(run: Path) -> dict[str, bytes]:
    """The results, and the weights in the newest checkpoint."""
    from ignite_vision.training.checkpoint import steps

    newest = steps(run / "checkpoints")[-1]
    weights = {
        f"{newest.name}/{name}": (newest / name).read_bytes() for name in ("model.safetensors", "best.safetensors")
    }
    return {name: (run / name).read_bytes() for name in RESULTS} | weights


def state_of(run: Path) -> Any:
    """Everything that the newest checkpoint keeps, tensors as bytes: two of them compare with ==."""
    import torch

    from ignite_vision.training.checkpoint import read_states, steps

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return (
                str(value.dtype),
                tuple(value.shape),
                value.contiguous().flatten().view(torch.uint8).numpy().tobytes(),
            )
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value

    return plain(read_states(steps(run / "checkpoints")[-1]))


def goes_on(out: Path, *options: Any, recipe: Any = STUBBORN, **environ: str) -> str:
    """The same command to its end: what it printed."""
    code, text = run("run", recipe, "--out", out, *options, **environ)
    assert code == 0, text
    assert "Traceback" not in text
    return text


def assert_same(run: Path, whole: Path) -> None:
    """A run ended as the uninterrupted one did, to the last bit."""
    mine, theirs = bytes_of(run), bytes_of(whole)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []
    assert state_of(run) == state_of(whole)
