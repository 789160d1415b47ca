"""What is said of labels has the first by name and what is at stake."""

import torch

from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.splits import Splits
from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.evaluation.label_findings import label_findings, looks, not_judged
from ignite_vision.health.collection import Collection

SUSPECTS = [
    Suspect("test:3", "test", 3, "ketch", "schooner", 0.001, 0.98),
    Suspect("train:7", "train", 7, "lamp", "chandelier", 0.03, 0.6),
]


def images():
    def split(n, name):
        return ArrayImages(torch.zeros(n, 1, 8, 8, dtype=torch.uint8), torch.arange(n) % 2, name)

    return Collection(Splits(split(30, "train"), split(10, "val"), split(20, "test"), ("ketch", "lamp")))


def test_the_most_doubtful_is_named_and_the_accuracy_that_is_at_stake():
    (found,) = label_findings(images(), SUSPECTS, "mobilenet_v2")
    assert found.message == (
        "2 labels to check, by features of mobilenet_v2: test:3 looks like 'schooner' (0.98); "
        "1 is in test, up to 5.0 % of its accuracy"
    )
    assert (found.level, found.n, found.images, found.file) == (
        "look",
        2,
        ("test:3", "train:7"),
        "label_suspects.csv",
    )


def test_without_a_suspect_there_is_nothing_to_say():
    assert list(label_findings(images(), [], "mobilenet_v2")) == []


def test_nothing_is_at_stake_where_test_has_none():
    (found,) = label_findings(images(), SUSPECTS[1:], "mobilenet_v2")
    assert found.message.endswith("train:7 looks like 'chandelier' (0.60)")


def test_a_thumbnail_says_both_classes():
    assert looks(SUSPECTS)["train:7"] == "labelled lamp, looks like chandelier (0.60)"


def test_why_nothing_was_judged_is_a_note():
    note = not_judged("no network", "Connect.")
    assert (note.level, note.line()) == ("note", "labels were not judged: no network. Connect.")
