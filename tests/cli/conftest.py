"""The command line in this process: torch is loaded already."""

import sys

import pytest


@pytest.fixture
def ignite_vision(capsys, monkeypatch):
    """Return a function that runs a command: (exit code, stdout, stderr)."""
    from ignite_vision import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ignite-vision", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run
