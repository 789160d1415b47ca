"""What the page of a comparison is made of."""

import shutil

import pytest

from ignite_vision.comparing.comparison import compare
from ignite_vision.comparing.page import exhibit, write_page
from ignite_vision.errors import NOT_SAVED, UserError
from tests.comparing.conftest import edit, rewrite, wrong


@pytest.fixture
def pair(digits_run, tmp_path):
    """Two runs, the second with thirty other answers."""
    copy = shutil.copytree(digits_run, tmp_path / "other")
    rewrite(copy, lambda rows: [wrong(row) if k < 30 else row for k, row in enumerate(rows)])
    return [digits_run, copy]


def test_images_have_their_pictures_and_runs_their_history(pair):
    found = exhibit(compare(pair), None)
    (duel,) = found.duels
    assert (len(duel.lost), found.note) == (24, "")
    assert duel.numbers[1] >= 24
    assert all(shot.src and shot.src.startswith("data:image/webp") for shot in (*duel.lost, *duel.gained))
    assert [len(row.history) for row in found.rows] == [2, 2]
    assert found.title == f"{pair[0]} against {pair[1]}"
    assert [row.setting for row in found.rows] == [0, 1]


def test_without_the_images_it_says_so(pair, tmp_path):
    copies = [shutil.copytree(run, tmp_path / f"copy{k}") for k, run in enumerate(pair)]
    for copy in copies:
        edit(copy, lambda settings: settings.update(spec=str(tmp_path / "gone"), name="gone"))
        edit(copy, lambda settings: settings["data"].update(folder=str(tmp_path / "gone")))
        (copy / "history.jsonl").write_text("damaged")
    found = exhibit(compare(copies), None)
    assert found.note.startswith("There are no pictures: ")
    assert {shot.src for shot in found.duels[0].lost} == {None}
    assert [list(row.history) for row in found.rows] == [[], []]
    with pytest.raises(UserError, match="no such data folder"):
        exhibit(compare(copies), tmp_path / "gone")


def test_several_seeds_are_one_statement_and_one_example(several):
    found = exhibit(compare(several), None)
    assert [statement.verdict for statement in found.statements] == ["better"]
    assert [(duel.one, duel.other) for duel in found.duels] == [(str(several[0]), str(several[3]))]
    assert [row.setting for row in found.rows] == [0, 0, 0, 1, 1, 1]


def test_the_page_is_written_or_why_not(pair, tmp_path):
    found = compare(pair)
    write_page(found, tmp_path / "new" / "page.html", None)
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UserError, match="--html is a folder"):
        write_page(found, tmp_path, None)
    with pytest.raises(UserError, match="the page cannot be written") as caught:
        write_page(found, tmp_path / "new" / "page.html" / "below.html", None)
    assert caught.value.code == NOT_SAVED


def test_answers_to_other_images_get_no_pictures_of_the_runs_own(pair):
    places = []
    for run in pair:
        place = run / "evaluations" / "more"
        place.mkdir(parents=True)
        for name in ("predictions.csv", "metrics.json"):
            shutil.copy(run / name, place / name)
        places.append(place)
    try:
        found = exhibit(compare(places), None)
    finally:
        shutil.rmtree(pair[0] / "evaluations")
    assert found.note.startswith("There are no pictures: these are other images than the run's own")
    assert {shot.src for shot in found.duels[0].lost} == {None}
