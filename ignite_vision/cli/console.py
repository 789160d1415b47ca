"""What every process prints and how it ends: progress, one line for an error, an exit code. Without torch."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import click

from ignite_vision.errors import INTERRUPTED, NOT_SAVED, Stopped, UserError
from ignite_vision.system.signals import leave_on_signals

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a disk that takes no more


def set_up() -> None:
    """What this process needs once, whatever the command."""
    leave_on_signals()
    # of damaged files, which get an error of ours; of a deprecated decoder; of as many workers as were asked for
    for module in ("PIL", "ignite_vision.data.images", "torch.utils.data.dataloader"):
        warnings.filterwarnings("ignore", module=module)
    logging.getLogger("ignite").addHandler(logging.NullHandler())  # what an engine raises is printed here, once


def guarded(work: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    """Call work; its exit code, with one line on stderr if it failed."""
    debug = "--debug" in sys.argv
    try:
        work(*arguments, **options)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("stopped by Ctrl-C. Run the same command again to go on.")
        return INTERRUPTED
    except Stopped as stop:
        say(str(stop.what))
        return stop.code
    except UserError as error:
        if debug:
            traceback.print_exc()
        complain(str(error))
        return error.code
    except OSError as error:
        if debug or error.errno not in DISK:
            raise
        hint = "What is saved stays; the same command goes on."
        complain(str(UserError(f"cannot write: {error.strerror}", error.filename, hint)))
        return NOT_SAVED
    return 0


def complain(text: str) -> None:
    """Print an error, whichever process it is of."""
    click.echo(f"error: {text}", err=True)


def leave(code: int) -> NoReturn:
    """End the process without waiting for what may hang: a thread or a worker that reads from a dead disk."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    """Progress and warnings: stderr, above a progress bar if there is one; of several processes only the first."""
    if not is_first():
        return
    if "tqdm" in sys.modules and sys.stderr.isatty():
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        click.echo(text, err=True)


def is_first() -> bool:
    """Whether this process prints. (Looked up so that `--help` does not wait for torch.)"""
    distributed = sys.modules.get("ignite_vision.distributed")
    return distributed is None or distributed.is_first()
