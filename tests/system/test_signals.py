"""A signal sets a flag; an engine that is being watched is left where nothing is half done, and nowhere else."""

import os
import signal
import subprocess
import sys
import time

import pytest
from ignite.engine import Engine, Events

from ignite_vision.errors import Stopped
from ignite_vision.system import signals
from ignite_vision.system.signals import StopFlag


def send(name):
    """Send this process a signal."""
    os.kill(os.getpid(), getattr(signal, name))


def sigterm():
    """Send it as a handler of an engine, which may take no arguments then."""
    send("SIGTERM")


def engine():
    """Return an engine whose step does nothing."""
    return Engine(lambda _engine, _batch: None)


def python(program):
    """Run a program in a fresh process: (exit code, stderr)."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.fixture
def hangup():
    """Put the handler of SIGHUP back: pytest itself may have been started by nohup."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75), ("SIGHUP", 75)])
def test_the_first_signal_becomes_a_stop_with_its_exit_code(hangup, name, code):
    with StopFlag() as flag:
        flag.check()
        send(name)
        with pytest.raises(Stopped, match="stopped by (Ctrl-C|SIG)") as stop:
            flag.check()
    assert stop.value.code == code


def test_a_hangup_that_nohup_ignores_stays_ignored(hangup):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopFlag() as flag:
        send("SIGHUP")
        flag.check()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_the_handlers_that_were_there_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopFlag():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\nfrom ignite_vision.system.signals import StopFlag\n"
        "with StopFlag():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.6)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert python(program) == (128 + signal.SIGTERM, "")


# Outside of training


LEAVE = "import os, signal, time\nfrom ignite_vision.system import signals\nsignals.leave_on_signals()\n"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75)])
def test_outside_of_training_a_signal_ends_the_command_with_one_line(name, code):
    returned, err = python(f"{LEAVE}os.kill(os.getpid(), signal.{name})\ntime.sleep(60)")
    said = "Ctrl-C" if name == "SIGINT" else name
    assert (returned, err) == (code, f"stopped by {said}. Run the same command again and it resumes.\n")


def test_a_command_that_does_not_resume_says_something_else_and_cleans_up(tmp_path):
    clean = f"signals.leave_on_signals('x is as it was.', lambda: os.mkdir({str(tmp_path / 'cleaned')!r}))\n"
    program = f"{LEAVE}{clean}os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"
    assert python(program) == (75, "stopped by SIGTERM. x is as it was.\n")
    assert (tmp_path / "cleaned").is_dir()


def test_it_ends_even_where_nobody_reads_its_last_line():
    program = "reader, writer = os.pipe()\nos.close(reader)\nos.dup2(writer, 2)\n"
    assert python(f"{LEAVE}{program}os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)") == (75, "")


def test_a_worker_leaves_every_signal_to_the_main_process():
    program = "from ignite_vision.system import signals\nimport os, signal\nsignals.ignore_signals()\n"
    program += "for name in signals.NAMES:\n    os.kill(os.getpid(), getattr(signal, name))\n"
    assert python(program) == (0, "")


# Engines


def test_an_engine_that_is_watched_stops_after_the_iteration_and_all_its_handlers():
    trainer, seen = engine(), []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), sigterm)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(trainer.state.iteration))
    with StopFlag() as flag, flag.watching(trainer), pytest.raises(Stopped):
        trainer.run(range(5), max_epochs=2)
    assert seen == [1, 2, 3]


def test_with_accumulated_gradients_it_stops_only_after_an_optimizer_step():
    trainer = engine()
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), sigterm)
    with StopFlag() as flag, flag.watching(trainer, every=4), pytest.raises(Stopped):
        trainer.run(range(8))
    assert trainer.state.iteration == 4


def test_an_engine_that_is_watched_no_more_is_not_stopped():
    evaluator = engine()
    with StopFlag() as flag:
        with flag.watching(evaluator):
            evaluator.run(range(3))
        sigterm()
        evaluator.run(range(3))
        assert evaluator.state.iteration == 3
        assert not flag.waiting


def training(flag, handler, at):
    """Train two epochs of four iterations as fit() does, a signal coming in the `at`-th iteration of the evaluator.

    Return the trainer's last iteration when it was stopped. handler(evaluator): the recipe's own, at an epoch's end.
    """
    trainer, evaluator = engine(), engine()
    count = iter(range(1, 100))
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: sigterm() if next(count) == at else None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate():
        with flag.watching(evaluator):
            evaluator.run(range(3))

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: handler(evaluator))
    with flag, flag.watching(trainer), pytest.raises(Stopped):
        trainer.run(range(4), max_epochs=2)
    return trainer.state.iteration


def test_the_runs_own_validation_is_left_before_anything_of_the_recipes_handlers_ran():
    called = []
    assert training(StopFlag(), called.append, at=2) == 4
    assert called == []


def test_a_recipes_handler_that_runs_the_evaluator_is_finished_before_the_run_stops():
    lines = []

    def halve_when_worse(evaluator):
        lines.append("before")
        evaluator.run(range(3))
        lines.append("after")

    assert training(StopFlag(), halve_when_worse, at=5) == 5  # an iteration of the next epoch was done as well
    assert lines == ["before", "after"]


def slow_batches(seconds):
    """Yield two batches, the second one late."""
    yield 0
    time.sleep(seconds)
    yield 1


def test_a_batch_that_does_not_come_is_waited_for_no_longer_than_a_while(monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE", 0.1)
    trainer = engine()
    trainer.add_event_handler(Events.GET_BATCH_STARTED(once=1), sigterm)  # after iteration 1
    with StopFlag() as flag, flag.watching(trainer), pytest.raises(Stopped):
        trainer.run(slow_batches(60), epoch_length=2)
    assert trainer.state.iteration == 1


def test_a_batch_that_a_recipes_handler_waits_for_is_waited_for(monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE", 0.1)
    trainer, evaluator, lines = engine(), engine(), []

    @trainer.on(Events.ITERATION_COMPLETED(once=1))
    def look():
        sigterm()
        evaluator.run(slow_batches(0.3), epoch_length=2)
        lines.append("after")

    with StopFlag() as flag, flag.watching(trainer), pytest.raises(Stopped):
        trainer.run(range(4))
    assert (lines, trainer.state.iteration) == (["after"], 1)


def test_of_several_processes_the_signal_of_one_stops_this_one():
    with StopFlag(lambda _mine: signal.SIGUSR1) as flag, pytest.raises(Stopped, match="stopped by SIGUSR1"):
        flag.check()
