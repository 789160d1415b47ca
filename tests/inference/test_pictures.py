"""Heat maps as pictures: the square that the model saw, redder where its class was seen."""

import numpy as np
import pytest
import torch
from PIL import Image

from ignite_vision import Classifier
from ignite_vision.errors import UserError
from ignite_vision.inference.answers import Answer
from ignite_vision.inference.pictures import HOT, file_name, picture, with_pictures
from tests.helpers.runs import train


def test_the_hot_half_is_red_and_the_cold_half_as_it_was():
    canvas = torch.full((3, 32, 32), 100, dtype=torch.uint8)
    heat = torch.zeros(4, 4)
    heat[:, 2:] = 1
    pixels = np.asarray(picture(canvas, heat))
    assert pixels.shape == (32, 32, 3)
    assert (pixels[:, :8] == 100).all()
    assert (pixels[:, -8:, 0] > 190).all() and (pixels[:, -8:, 2] < 50).all()
    assert HOT[0] > HOT[2]


def test_without_heat_and_in_grey_it_is_the_canvas():
    canvas = torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)
    assert np.array_equal(np.asarray(picture(canvas, None))[..., 1], canvas[0].numpy())


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/cat.jpg", "0007-cat.png"), ("/x/../..", "0007-...png"), ("é\n/\udcff b.c.jpg", "0007-__b.c.png")],
)
def test_a_pictures_name_is_plain(path, name):
    assert file_name(path, 7) == name
    assert "/" not in name


def test_each_answer_goes_by_and_leaves_its_picture(make_run, tmp_path):
    prepared = make_run(model="digits_cnn", epochs=1)
    train(prepared)
    classifier = Classifier.load(prepared.directory)
    Image.new("L", (30, 20), 90).save(tmp_path / "x.png")
    answers = list(classifier.predict([tmp_path / "x.png", tmp_path / "gone.png"]))
    answers.append(Answer(str(tmp_path / "gone.png"), answers[0].probabilities))
    assert list(with_pictures(answers, classifier, tmp_path / "heat" / "maps")) == answers
    (drawn,) = (tmp_path / "heat" / "maps").iterdir()
    assert drawn.name == "0001-x.png"
    with Image.open(drawn) as image:
        assert image.size == (classifier.preprocessing.crop,) * 2


def test_a_network_without_a_map_is_refused_at_once(make_run, tmp_path):
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64, 3)

        def forward(self, images):
            return self.layer(images.flatten(1))

    prepared = make_run(model=lambda num_classes: Flat(), epochs=1)
    train(prepared)
    classifier = Classifier.load(prepared.directory, network=Flat())
    with pytest.raises(UserError, match="no heat map can be drawn of this model.*Leave out --heatmap"):
        with_pictures([], classifier, tmp_path / "heat")
    assert not (tmp_path / "heat").exists()
