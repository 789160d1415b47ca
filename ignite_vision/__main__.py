"""`python -m ignite_vision`, and the `ignite-vision` command."""

import signal


def main() -> None:
    """Run the command. Until it minds signals itself, Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from ignite_vision.cli import main as command

    command()


if __name__ == "__main__":
    main()
