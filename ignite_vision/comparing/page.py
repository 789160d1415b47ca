"""The page of a comparison: what it is made of is collected here; `report/compare_page.py` draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ignite_vision.comparing.comparison import Comparison, Versus
from ignite_vision.comparing.groups import GroupVersus
from ignite_vision.comparing.runs import Compared, as_text, owner
from ignite_vision.errors import UserError
from ignite_vision.evaluation.comparison import Changed
from ignite_vision.evaluation.intervals import NOISE, wilson
from ignite_vision.recipe import override
from ignite_vision.recipe_files import load_again
from ignite_vision.report.compare_page import ClassRow, Duel, Exhibit, Row, Shot, Statement, render, shot
from ignite_vision.run_data import existing, load_all, recorded_folder
from ignite_vision.system.files import keeping, write_atomically
from ignite_vision.training.history import EpochRow, read_history

SHOWN = 24  # images of a list

Pictures = dict[str, torch.Tensor]


def write_page(found: Comparison, target: Path, data: Path | None) -> None:
    """Write the page. data: where the images are now; None: where they were when the first run began.

    UserError if they are asked for and not there, or the file cannot be written (exit 4).
    """
    if target.is_dir():
        raise UserError("--html is a folder", target, "Name a file, such as compare.html.")
    page = render(exhibit(found, data))
    with keeping("the page", target, "Free some space, or choose another --html."):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, page)


def exhibit(found: Comparison, data: Path | None) -> Exhibit:
    """Collect all that the page shows."""
    wanted = [image.id for one in found.told for image in (*one.gained[:SHOWN], *one.lost[:SHOWN])]
    pictures, note = pictures_of(found.runs[0], wanted, data)
    several = len(found.groups) > 1  # else all are seeds of one setting, and each is told from the others
    sides = (
        [(group.name, group.runs) for group in found.groups] if several else [(run.name, [run]) for run in found.runs]
    )
    place = {run.name: k for k, (_, runs) in enumerate(sides) for run in runs}
    return Exhibit(
        title=" against ".join(name for name, _ in sides[:2]) + " and others" * (len(sides) > 2),
        n=len(found.runs[0].answers),
        statements=statements(found),
        rows=[row(run, place[run.name]) for run in found.runs],
        settings={name: [as_text(value) for value in values] for name, values in found.settings.items()},
        duels=[duel(one, pictures) for one in found.told],
        note=note,
    )


def statements(found: Comparison) -> list[Statement]:
    """What is said: of settings with several seeds, then of the other runs. The other's difference to the first."""
    found_by: Sequence[GroupVersus | Versus] = [*found.contests, *found.alone]
    return [
        Statement(one.one.name, one.other.name, one.words, one.verdict, one.difference, one.interval)
        for one in found_by
    ]


def row(run: Compared, setting: int) -> Row:
    """A run, with its history where that can be read."""
    return Row(run.name, run.accuracy, wilson(run.right, len(run.answers)), setting, history_of(run))


def history_of(run: Compared) -> Sequence[EpochRow]:
    """The epochs of a run; none where history.jsonl is missing or damaged: the answers are there all the same."""
    try:
        return read_history(owner(Path(run.name)).history).rows
    except UserError:
        return []


def duel(one: Versus, pictures: Pictures) -> Duel:
    """Two runs in detail."""
    classes = [
        ClassRow(name, found.n, *found.accuracies, chance=chance) for name, (found, chance) in one.classes.items()
    ]
    gained, lost = ([drawn(image, pictures) for image in some[:SHOWN]] for some in (one.gained, one.lost))
    numbers = len(one.gained), len(one.lost)
    return Duel(one.one.name, one.other.name, classes, gained, lost, numbers, NOISE)


def drawn(image: Changed, pictures: Pictures) -> Shot:
    """An image with its picture, if that is at hand."""
    said = image.id, image.label, image.one, image.other
    return shot(pictures[image.id], *said) if image.id in pictures else Shot(*said)


def pictures_of(run: Compared, ids: Iterable[str], data: Path | None) -> tuple[Pictures, str]:
    """((C,H,W) uint8 by id, why some are missing). UserError only for what is wrong with `data` itself."""
    wanted = set(ids)
    if data is None and Path(run.name).resolve().parent.name == "evaluations":
        return {}, "There are no pictures: these are other images than the run's own, which --data DIR shows."
    try:
        found = load_pictures(run, wanted, data)
    except UserError as error:
        if data is not None:
            raise
        return {}, f"There are no pictures: {error.what}."
    missing = len(wanted) - len(found)
    where = "the folder of --data" if data is not None else "the folder of the first run"
    return found, f"{missing:,} of the images are not in {where}, or cannot be read." if missing else ""


def load_pictures(run: Compared, wanted: set[str], data: Path | None) -> Pictures:
    """Read images by their ids, whatever split they are in."""
    directory = owner(Path(run.name))
    recipe = override(load_again(run.settings["spec"], directory.recipe_copy).recipe, run.settings["overrides"])
    folder = existing(data) if data is not None else recorded_folder(recipe, directory, "compare")
    given, _ = load_all(recipe, folder)
    found: Pictures = {}
    for images in (given.train, given.val, given.test):
        for i in range(0 if images is None else len(images)):
            if (name := images.sample_id(i)) in wanted - found.keys():
                try:
                    found[name] = images[i][0]
                except UserError:  # it cannot be read any more
                    continue
    return found
