"""What every process prints and how it ends: progress, one line for an error, an exit code. Without torch."""

from __future__ import annotations

import errno
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ignite_vision.errors import INTERRUPTED, NOT_SAVED, Stopped, UserError
from ignite_vision.system.process import quieten_libraries
from ignite_vision.system.signals import AGAIN, leave_on_signals

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a disk that takes no more


def set_up() -> None:
    """What this process needs once, whatever the command."""
    leave_on_signals()
    quieten_libraries()


def guarded(work: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    """Call work; its exit code, with one line on stderr if it failed. What nobody foresaw is raised."""
    debug = "--debug" in sys.argv
    try:
        work(*arguments, **options)
    except click.ClickException as error:
        complain_of_usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say(f"stopped by Ctrl-C. {AGAIN}.")
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
        hint = f"What is saved stays. {AGAIN}."
        complain(str(UserError(f"cannot write: {error.strerror}", error.filename, hint)))
        return NOT_SAVED
    return 0


def complain_of_usage(error: click.ClickException) -> None:
    """Print what click found wrong with the arguments, as one line; for a command without any, the help."""
    context = getattr(error, "ctx", None)
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # before click 8.2 it was no error
        error.show()
        return
    text = error.format_message()
    text = text[:1].lower() + text[1:] + ("" if text.endswith((".", "?")) else ".")
    complain(text + (f" See `{context.command_path} --help`." if context is not None else ""))


def complain(text: str) -> None:
    """Print an error, whichever process it is of."""
    click.echo(f"error: {text}", err=True)


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
    distributed = sys.modules.get("ignite_vision.system.distributed")
    return distributed is None or distributed.is_first()


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table with columns of one width; a row may end early."""
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
