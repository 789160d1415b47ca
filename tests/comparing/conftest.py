"""Copies of a finished run with other settings and answers."""

import json
import shutil

import pytest


@pytest.fixture
def other(digits_run, tmp_path):
    """Return a copy of the run, as if trained with another lr, that has its first two images wrong."""
    copy = shutil.copytree(digits_run, tmp_path / "other")
    edit(copy, lambda settings: settings["recipe"].update(lr=0.5))
    rewrite(copy, lambda rows: [wrong(row) if k < 2 else row for k, row in enumerate(rows)])
    return copy


def edit(run, change):
    settings = json.loads((run / "run.json").read_text())
    change(settings)
    (run / "run.json").write_text(json.dumps(settings))


def rewrite(run, change):
    """Change the rows of predictions.csv: (path, class, predicted, ...)."""
    header, *rows = [line.split(",") for line in (run / "predictions.csv").read_text().splitlines()]
    lines = [",".join(row) for row in [header, *change(rows)]]
    (run / "predictions.csv").write_text("\n".join(lines) + "\n")


def wrong(row):
    return [*row[:2], str((int(row[1]) + 1) % 10), *row[3:]]


def as_right(rows):
    return [[*row[:2], row[1], *row[3:]] for row in rows]


@pytest.fixture
def several(digits_run, tmp_path):
    """Return six runs: three seeds of each of two settings, 90 or a few of their answers wrong."""
    runs = []
    for lr in (0.1, 0.2):
        for seed in range(3):
            copy = shutil.copytree(digits_run, tmp_path / f"{lr}" / f"seed-{seed}")
            edit(copy, lambda settings, lr=lr, seed=seed: settings["recipe"].update(lr=lr, seed=seed))
            few = 90 if lr == 0.1 else seed
            rewrite(copy, lambda rows, few=few: [wrong(row) for row in rows[:few]] + as_right(rows[few:]))
            runs.append(copy)
    return runs
