"""The command line: parse, call one function, print. torch is imported inside the commands, not here."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

from ignite_vision._version import __version__
from ignite_vision.cli import commands
from ignite_vision.cli.console import guarded, set_up
from ignite_vision.errors import INTERRUPTED, STOPPED
from ignite_vision.system.process import leave

NAME = "ignite-vision"  # also where `python -m ignite_vision` was typed: what is printed can be copied


def main() -> None:
    """Entry point: every foreseen error is one line on stderr and an exit code; a bug is a traceback and 1."""
    set_up()
    code = guarded(command_line().main, prog_name=NAME, standalone_mode=False)
    if code in (INTERRUPTED, STOPPED):
        leave(code)
    sys.exit(code)


def command_line() -> click.Group:
    """The group with every command that a module in the folder `commands` has."""
    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        for command in vars(module).values():
            if isinstance(command, click.Command):
                cli.add_command(command)
    return cli


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=NAME)
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Train, evaluate and use image classifiers.

    \b
    ignite-vision run digits          a first classifier, no network needed
    ignite-vision run PHOTOS/         a folder with one subfolder of images per class
    ignite-vision run my_recipe.py    your own data, model and handlers
    ignite-vision predict RUN PHOTOS/ the class of each image, by a trained model
    """  # noqa: D301  (click's mark for lines that stay as they are)
    del debug  # read by main(), which also handles what goes wrong before this
