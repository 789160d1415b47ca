"""Options that several commands share: what they are for, and what they become."""

import dataclasses
from pathlib import Path

import click
import pytest

from ignite_vision.cli import command_line
from ignite_vision.cli.options import Duration, Seeds, options_of, overrides_of
from ignite_vision.errors import UserError
from ignite_vision.prepare import Options
from tests.helpers.command_line import assert_one_error_line

UNCHANGED = {"device", "workers", "nproc_per_node", "checkpoint_every", "keep_checkpoints", "verify_data"}


def options(name):
    """Names of a command's options."""
    return {parameter.name for parameter in command_line().commands[name].params}


def test_run_and_resume_share_the_options_that_change_no_result():
    assert options("run") & options("resume") >= UNCHANGED | {"deterministic", "data", "epochs"}


def test_a_fields_flag_is_set_too_and_wins_over_set():
    flags = {"epochs": 3, "batch_size": None, "seed": 0}
    assert overrides_of(("lr=0.1", "epochs=9", "image-size=64"), flags) == {
        "lr": "0.1",
        "epochs": "3",
        "image_size": "64",
        "seed": "0",
    }


def test_a_value_may_hold_an_equals_sign_and_may_be_empty():
    assert overrides_of(("weights=a=b.pth", "trainable="), {}) == {"weights": "a=b.pth", "trainable": ""}


def test_a_setting_without_equals_is_refused_with_an_example():
    with pytest.raises(UserError, match="--set needs FIELD=VALUE, not 'lr'. For example --set lr=0.01."):
        overrides_of(("lr",), {})


def test_the_options_have_the_defaults_that_prepare_has():
    for name in ("run", "resume"):
        values = command_line().commands[name].make_context(name, ["digits"]).params
        given = {field.name: values[field.name] for field in dataclasses.fields(Options) if field.name in values}
        assert Options(**{**given, "out": None}) == Options()


def test_options_go_to_prepare_as_they_are():
    assert options_of(out=Path("x"), workers=2) == Options(out=Path("x"), workers=2)


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("--epochs", "0", "0 is not in the range"),
        ("--epochs", "two", "'two' is not a valid integer"),
        ("--batch-size", "0", "0 is not in the range"),
        ("--workers", "-1", "-1 is not in the range"),
        ("--seed", "x", "'x' is not a valid integer"),
        ("--checkpoint-every", "0", "0 is not in the range"),
        ("--keep-checkpoints", "0", "0 is not in the range"),
        ("--nproc-per-node", "0", "0 is not in the range"),
    ],
)
def test_a_number_out_of_range_is_one_line(ignite_vision, option, value, part):
    result = ignite_vision("run", "digits", option, value)
    assert_one_error_line(result, f"invalid value for '{option}'", part, "See `ignite-vision run --help`.")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5h", 1800)])
def test_a_time_is_read_in_the_units_that_people_write(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "10 minutes", "m", "1e3", "٣m", "nan", "1d", "9" * 400, "1h30", "2m5"])
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match="write 90s, 10m or 1h30m"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(("text", "seeds"), [("3", (0, 1, 2)), ("0,7, 4", (0, 7, 4)), ("100", tuple(range(100)))])
def test_seeds_are_a_number_or_a_list(text, seeds):
    assert Seeds().convert(text, None, None) == seeds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *(("1", "one seed has no spread"), ("0", "one seed has no spread"), ("2,2", "names a seed twice")),
        *(("101", "more than 100 seeds"), ("20261128", "--seed N"), ("9" * 18, "more than 100")),
        *((text, "no number of seeds") for text in ("", "three", "-1", "1,", "0..3", "1.5", "9" * 19, "٣")),
    ],
)
def test_what_is_no_list_of_seeds_is_refused(text, why):
    with pytest.raises(click.BadParameter, match=why):
        Seeds().convert(text, None, None)
