"""`python -m ignite_vision`, and the `ignite-vision` command."""

import atexit
import contextlib
import gc
import os
import signal
import sys


def main() -> None:
    """Run the command. Until it minds signals itself, Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # while modules are imported, until launch(): it finds nothing there but takes a second
    codes: list[int] = []
    atexit.register(_end, codes)  # first, so it is called last

    from ignite_vision.cli import main as command

    code = 1  # of a bug
    try:
        command()
    except SystemExit as end:
        code = int(end.code or 0)
        raise
    finally:
        codes.append(code)


def _end(codes: list[int]) -> None:
    """Leave once everything that wants to be told of the end was told: taking torch's modules apart takes a second."""
    if codes:  # not so in a process that was forked on the way
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    main()
