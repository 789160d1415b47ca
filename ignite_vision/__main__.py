"""`python -m ignite_vision`, and the `ignite-vision` command."""

import signal


def main() -> None:
    """Run the command. Until it minds signals itself, Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from ignite_vision.system import process

    process.outlive_output()
    process.share_processors()  # torch reads it when it is loaded
    process.pause_garbage_collection()  # until a command has imported everything
    codes = process.leave_at_exit()

    from ignite_vision.cli import main as command

    code = 1  # of a bug
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)  # sys.exit("text") is 1
        raise
    finally:
        codes.append(code)


if __name__ == "__main__":
    main()
