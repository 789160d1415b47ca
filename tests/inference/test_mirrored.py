"""Answers to image and mirror image together."""

import numpy as np
import pytest
import torch

from ignite_vision import Classifier
from ignite_vision.inference.mirrored import Mirrored, mirrored


@pytest.fixture(scope="module")
def classifier(digits_run):
    return Classifier.load(digits_run, precision="fp32", device="cpu")


def test_the_answer_is_the_mean_of_both_probabilities(classifier):
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain, turned = (classifier.logits(some).double().softmax(1) for some in (images, images.flip(3)))
    found = mirrored(classifier).logits(images)
    np.testing.assert_allclose(found.double().exp(), (plain + turned) / 2, rtol=1e-5, atol=1e-9)
    assert found.exp().sum(1).numpy() == pytest.approx(np.ones(16), abs=1e-6)


def test_an_image_and_its_mirror_image_have_one_answer(classifier):
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    both = mirrored(classifier)
    np.testing.assert_allclose(both.logits(images), both.logits(images.flip(3)), rtol=1e-5, atol=1e-6)


def test_the_plain_classifier_stays_as_it_is(classifier):
    temperature = classifier.temperature
    found = mirrored(classifier)
    assert isinstance(found.network, Mirrored) and not isinstance(classifier.network, Mirrored)
    assert (found.temperature, classifier.temperature) == (1.0, temperature)


def test_probabilities_that_are_nothing_beside_others_stay_finite():
    sure = torch.nn.Flatten()
    logits = Mirrored(sure)(torch.tensor([[[[500.0, -500.0]]]]))
    assert logits.isfinite().all() and logits.exp().sum() == pytest.approx(1)
