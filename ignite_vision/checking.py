"""Check a folder, a recipe's data or a run: look at every image once, and write down what was found."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ignite_vision.data import hash_store
from ignite_vision.data.skipping import without
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError
from ignite_vision.evaluation.frozen import judged_before_training
from ignite_vision.evaluation.label_errors import Suspect, suspect_rows
from ignite_vision.evaluation.label_findings import label_findings, looks, not_judged
from ignite_vision.health.classes import class_findings, counts
from ignite_vision.health.collection import Collection
from ignite_vision.health.duplicates import Pairs, as_csv, duplicate_findings, find_pairs
from ignite_vision.health.faults import faults
from ignite_vision.health.findings import Finding, worst_first
from ignite_vision.health.records import Records
from ignite_vision.health.scan import scan
from ignite_vision.health.shortcuts import shortcuts
from ignite_vision.prepare import MOST_WORKERS, Options
from ignite_vision.recipe import override
from ignite_vision.recipe_files import LoadedRecipe, load, load_again
from ignite_vision.report.check_page import render
from ignite_vision.run_data import (
    cut_anew,
    data_folder,
    duplicates_of,
    found_again,
    load_data,
    restored_splits,
)
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system.files import csv_text, expect_writable_folder, keeping, write_atomically
from ignite_vision.system.process import processors

FORMAT = 1  # of check.json
DEFAULT_OUT = Path("check")
NOT_FROZEN = "the run's network is no frozen one"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is checked. name: as the user said it. folder: where the images are. out: where the findings go."""

    name: str
    folder: Path
    images: Collection
    out: Path
    loaded: LoadedRecipe
    overrides: dict[str, str]
    page: str = "report.html"
    right: dict[str, bool] = dataclasses.field(default_factory=dict)
    """Id of a test image -> whether the run's model has it right; empty where there is none."""
    cut: Callable[[Records], Splits] | None = None
    """Cuts the images as `run` would, once they were looked at; None where they are in their splits."""

    @property
    def skips(self) -> bool:
        """Whether training goes on without images that cannot be read."""
        return override(self.loaded.recipe, self.overrides).on_bad_image == "skip"


@dataclasses.dataclass(frozen=True)
class Labels:
    """Images whose label may be wrong. seconds: that judging took; None if no label was judged."""

    suspects: list[Suspect]
    findings: list[Finding]
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found, the worst first."""

    subject: Subject
    records: Records
    pairs: Pairs
    findings: list[Finding]
    labels: Labels

    @property
    def must(self) -> list[Finding]:
        """What has to be fixed before training."""
        return [finding for finding in self.findings if finding.level == "must"]

    @property
    def page(self) -> Path:
        """Where the page is."""
        return self.subject.out / self.subject.page

    def to_dict(self) -> dict[str, Any]:
        """check.json: JSON-plain, without clock and host."""
        images = self.subject.images
        return {
            "format": FORMAT,
            "root": Path(self.subject.name).resolve().name,
            "images": len(images),
            "classes": counts(images),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(
    target: str,
    data: Path | None,
    out: Path | None,
    settings: dict[str, str],
    workers: int | None,
    say: Say,
    labels: bool = True,
) -> Checked:
    """Check a folder of images, a recipe's data or a run, and write the findings.

    data, settings: as `run` has them. labels: whether labels are judged. UserError if the images cannot be found, or
    the findings not be written.
    """
    subject = subject_of(target, data, out, settings, say)
    refuse_place(subject)
    records = scan(subject.images, min(processors(), MOST_WORKERS) if workers is None else workers, say)
    leave_hashes(subject.images, records)
    single = list(faults(subject.images, records, are_skipped=subject.skips))
    if subject.cut is not None:
        subject, records = as_cut(subject, records)
    images = subject.images
    pairs = find_pairs(records)
    judged = judge_labels(subject, records, workers, say) if labels else Labels([], [])
    findings = [
        *single,
        *class_findings(images),
        *duplicate_findings(images, pairs, subject.right),
        *judged.findings,
        *shortcuts(images, records),
    ]
    checked = Checked(subject, records, pairs, worst_first(findings), judged)
    write(checked)
    return checked


def leave_hashes(images: Collection, records: Records) -> None:
    """Keep the hashes for whoever looks for near-duplicates next: they are not computed again."""
    begin = 0
    for _, part in images.parts:
        rows = records.rows[begin : begin + len(part)]
        if part.stable:
            readable = np.flatnonzero(rows["readable"])
            hash_store.keep(part, readable, rows["hash"][readable])
        begin += len(part)


def as_cut(subject: Subject, records: Records) -> tuple[Subject, Records]:
    """The same with the images in the splits that `run` would make; without those that it would skip."""
    assert subject.cut is not None
    images = Collection(subject.cut(records), subject.images.given)
    return dataclasses.replace(subject, images=images, cut=None), records.at(subject.images.places_of(images))


def judge_labels(subject: Subject, records: Records, workers: int | None, say: Say) -> Labels:
    """Judge the labels of image files, by a pretrained network as `run` would have it; a note says why it cannot be.

    Of a run only where its network is frozen: of others `report` judges them, by the run's own model.
    """
    images, out = subject.images, subject.out
    if images.path(0) is None:
        return Labels([], [])
    if records.reasons:
        return Labels([], [not_judged("images that cannot be read are among them", "Replace or remove those first.")])
    run = RunDirectory(out).exists()
    if run and override(subject.loaded.recipe, subject.overrides).trainable != "head":
        return Labels([], [not_judged(NOT_FROZEN, f"Judge them by it: ignite-vision report {out}")])
    options = Options(subject.folder, out if run else out / "labels", workers=workers)  # where there is no run
    began = time.monotonic()
    try:
        suspects, model = judged_before_training(subject.loaded, subject.overrides, options, say)
    except UserError as error:
        where = f" ({error.path})" if error.path else ""
        return Labels([], [not_judged(f"{error.what}{where}", error.next_step)])
    return Labels(suspects, list(label_findings(images, suspects, model)), time.monotonic() - began)


def subject_of(target: str, data: Path | None, out: Path | None, settings: dict[str, str], say: Say) -> Subject:
    """What a command names: a run by its directory, else whatever `run` takes. say: told the notes on the data."""
    directory = RunDirectory(Path(target).expanduser())
    if directory.exists():
        return subject_of_run(directory, data, out, say)
    loaded = load_images(target)
    recipe = override(loaded.recipe, settings)
    folder = data_folder(loaded, recipe, data, None)
    given, _ = load_data(recipe, folder)
    for note in given.notes:
        say(f"warning: {note}")

    names = frozenset(name for name, _ in given.items())
    images = Collection(given, names)

    def cut(records: Records) -> Splits:  # as `run` does, which looks for near-duplicates before
        skipped = [images.key(k) for k in records.reasons] if recipe.on_bad_image == "skip" else []
        readable = without(given, skipped)
        return cut_anew(recipe, readable, duplicates_of(recipe, readable, say), say)

    return Subject(target, folder, images, out or DEFAULT_OUT, loaded, settings, cut=cut)


def load_images(target: str) -> LoadedRecipe:
    """The recipe that `run` would take; a file that is no recipe is images that it lists."""
    path = Path(target).expanduser()
    if path.is_file() and path.suffix != ".py":
        return dataclasses.replace(load("folder"), name=path.stem, spec=str(path.resolve()), data=path.resolve())
    return load(target)


def subject_of_run(directory: RunDirectory, data: Path | None, out: Path | None, say: Say) -> Subject:
    """The images of a run in its own splits, with what its model says of the test images if it is trained."""
    settings = directory.read_settings()
    loaded = load_again(settings["spec"], directory.recipe_copy)
    recipe = override(loaded.recipe, settings["overrides"])
    given, folder = found_again(recipe, directory, data, "check", say)
    names = frozenset(name for name, _ in given.items())
    images = Collection(restored_splits(given, directory), names)
    page = "report.html" if out else "check.html"  # beside the run's own report
    place, overrides = out or directory.path, settings["overrides"]
    return Subject(str(directory), folder, images, place, loaded, overrides, page, answers(directory))


def answers(directory: RunDirectory) -> dict[str, bool]:
    """Id of a test image -> whether the model has it right. Empty where there are no results."""
    try:
        with directory.predictions.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return {row["path"]: row["correct"] == "1" for row in csv.DictReader(file)}
    except (OSError, KeyError, csv.Error):
        return {}


def refuse_place(subject: Subject) -> None:
    """UserError if the findings would lie among the images, beside something else, or could not be written."""
    out, hint = subject.out, "Choose another place with --out."
    if out.exists() and not out.is_dir():
        raise UserError("the findings need a folder, and this is a file", out, hint)
    expect_writable_folder(out, hint)
    if RunDirectory(out).exists():
        return
    if subject.images.path(0) is not None and out.resolve().is_relative_to(subject.folder.resolve()):
        raise UserError("the findings would lie among the images", out, hint)
    if out.is_dir() and any(out.iterdir()) and not RunDirectory(out).check.is_file():
        raise UserError("this folder holds something else", out, hint)


def write(checked: Checked) -> None:
    """Write both tables, the page, and last check.json. UserError (exit 4) when the disk does not take them."""
    out, places = checked.subject.out, RunDirectory(checked.subject.out)  # of no run, perhaps, but by the same names
    found, images = checked.to_dict(), checked.subject.images
    page = render(found, images, checked.pairs, looks(checked.labels.suspects))
    with keeping("the findings", out, "Free some space, or choose another --out."):
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(places.duplicates, as_csv(images, checked.pairs))
        if checked.labels.seconds is not None:
            write_atomically(places.label_suspects, csv_text(suspect_rows(checked.labels.suspects)))
        elif not places.exists():  # where the report may have written it
            places.label_suspects.unlink(missing_ok=True)
        write_atomically(checked.page, page)
        # last: with it a check is finished
        write_atomically(places.check, json.dumps(found, indent=2, ensure_ascii=True) + "\n")
