"""Which backbone, for some images."""

import dataclasses
import time

import pytest
import torch
from PIL import Image

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.prepare import Options, prepare
from ignite_vision.probing import Candidate, Judged, Probe, Probed, default_candidates, earns_its_place, judge, probe
from ignite_vision.recipe_files import load

SMALL = {"batch_size": "16"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of random weights, by the network's name."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for name in ("cifar10_cnn", "shufflenet_v2_x0_5"):
        torch.manual_seed(0)
        found[name] = folder / f"{name}.pth"
        torch.save(models.build(name, 10).state_dict(), found[name])
    return found


@pytest.fixture
def try_out(image_folder):
    """Return a function: candidates -> what was found of them on a folder of photographs."""

    def run(*candidates, budget=None, say=lambda line: None):
        options = Options(device="cpu", workers=0, budget=budget)
        return probe(load(str(image_folder)), candidates, options, SMALL, say)

    return run


def candidate(weights, name):
    return Candidate(name, str(weights[name]))


def probed(model, right, seconds):
    """Something that was found."""
    return Probed(model, "DEFAULT", Judged(1.0, torch.tensor(right)), None, seconds, 1.0, None)


def test_a_model_is_judged_on_images_that_its_head_was_not_fitted_to(try_out, weights):
    found = try_out(candidate(weights, "cifar10_cnn"))
    alone = found.found
    assert found.cross_validated
    assert {len(one.judged.right) for one in alone} == {30}  # of 36: the others are the test split
    assert found.best.judged.accuracy == max(one.judged.accuracy for one in found.found)
    assert all(one.feature_seconds is not None and one.image_seconds > 0 for one in alone)


def test_the_features_are_there_when_it_is_done_again_and_for_the_run(try_out, weights):
    one = candidate(weights, "cifar10_cnn")
    first, again = try_out(one), try_out(one)
    assert again.best.feature_seconds is None
    assert torch.equal(first.best.judged.right, again.best.judged.right)


def test_a_test_image_that_cannot_be_read_does_not_matter(try_out, weights, image_folder):
    one = candidate(weights, "cifar10_cnn")
    given = {**SMALL, "model": one.model, "weights": one.weights}
    prepared = prepare(load(str(image_folder)), given, Options(device="cpu"), print)
    (image_folder / prepared.splits.test.sample_id(0)).write_bytes(b"\xff\xd8 no image")
    assert try_out(one).found


def test_what_cannot_be_tried_is_said_and_the_others_are(try_out, weights, tmp_path):
    one = candidate(weights, "cifar10_cnn")
    found = try_out(one, Candidate("resnet81"), Candidate("squeezenet1_0", str(weights["cifar10_cnn"])))
    assert [each.model for each in found.found] == ["cifar10_cnn"]
    assert "resnet18" in found.skipped["resnet81"]
    assert f"squeezenet1_0={weights['cifar10_cnn']}" in found.skipped


def test_nothing_that_can_be_tried_is_an_error_with_the_reasons(try_out):
    with pytest.raises(UserError, match=r"no model could be tried: resnet81: .*; no: .*--models"):
        try_out(Candidate("resnet81"), Candidate("no"))
    with pytest.raises(UserError, match="^no model 'resnet81'. Did you mean"):
        try_out(Candidate("resnet81"))


@pytest.mark.parametrize("name", ["model", "weights", "head", "trainable", "cache"])
def test_what_it_decides_itself_cannot_be_set(image_folder, weights, name):
    with pytest.raises(UserError, match=f"so {name} cannot be set. Name models with --models"):
        probe(load(str(image_folder)), [candidate(weights, "cifar10_cnn")], Options(), {name: "none"}, print)


def test_what_is_wrong_with_the_images_is_said_once_and_not_of_each_model(image_folder, try_out, weights):
    one = candidate(weights, "cifar10_cnn")
    kept = prepare(load(str(image_folder)), {**SMALL, "model": one.model, "weights": one.weights}, Options(), print)
    (image_folder / kept.splits.train.sample_id(0)).write_bytes(b"no image")
    with pytest.raises(UserError, match="^cannot read image: not an image of a known format"):
        try_out(Candidate("resnet81"), one, candidate(weights, "shufflenet_v2_x0_5"))


def test_a_model_whose_features_take_longer_than_is_left_is_passed_over(image_folder, weights):
    one = candidate(weights, "cifar10_cnn")
    options = Options(device="cpu", workers=0, budget=5.0, began=time.monotonic() - 10)
    with pytest.raises(UserError, match="its features would take .* are left"):
        probe(load(str(image_folder)), [one], options, SMALL, print)


def test_two_models_that_complement_each_other_are_put_together(make_run):
    run = make_run(data_function=halves, val_fraction=0.3)
    colour = torch.cat([run.splits.train.targets, run.splits.val.targets])
    high, low = (colour // 2).float(), (colour % 2).float()
    noise = torch.randn(len(colour), 2, generator=torch.Generator().manual_seed(0)) * 0.1
    alone = judge(torch.stack([high + noise[:, 0], torch.ones(len(colour))], 1), run)
    both = judge(torch.stack([high + noise[:, 0], low + noise[:, 1]], 1), run)
    assert alone.accuracy < 0.7
    assert both.accuracy > 0.95


def halves(root):
    """Four classes of squares."""
    from tests.conftest import squares

    splits = squares(root)
    targets = torch.arange(len(splits.train)) % 4
    return dataclasses.replace(
        splits, train=type(splits.train)(splits.train.pixels(), targets), classes=("a", "b", "c", "d")
    )


@pytest.mark.parametrize(("gained", "lost", "earned"), [(0, 0, False), (1, 0, True), (6, 4, False), (9, 3, True)])
def test_a_model_more_earns_its_place_by_a_standard_error(gained, lost, earned):
    alone = Judged(1.0, torch.tensor([False] * gained + [True] * (20 - gained)))
    together = Judged(1.0, torch.tensor([True] * (20 - lost) + [False] * lost))
    assert earns_its_place(together, alone) is earned


def test_the_fastest_model_within_noise_of_the_best_is_named():
    best = probed("large", [True] * 100, 0.1)
    equal = probed("small", [True] * 98 + [False] * 2, 0.01)
    worse = probed("tiny", [True] * 60 + [False] * 40, 0.001)
    found = Probe([best, equal, worse], {}, False)
    assert found.as_good() is equal
    assert found.chance(worse) < 0.001
    assert Probe([equal, worse], {}, False).as_good() is None


def test_a_candidate_reads_as_it_is_typed():
    assert Candidate.parse("resnet18") == Candidate("resnet18", "DEFAULT")
    assert Candidate.parse(" timm:x = a/b.pth ") == Candidate("timm:x", "a/b.pth")
    for text in ("", "=x", "resnet18="):
        with pytest.raises(UserError, match="names no model"):
            Candidate.parse(text)


def test_torchvisions_models_are_tried_by_default():
    assert default_candidates()[0] == Candidate("mobilenet_v2")


@pytest.mark.slow
def test_on_photographs_the_better_network_wins_and_its_run_computes_no_features(test_data, tmp_path):
    folder = tmp_path / "photos"
    for c in sorted((test_data / "caltech256/256_ObjectCategories").iterdir())[:4]:
        (folder / c.name).mkdir(parents=True)
        for path in sorted(c.iterdir())[:24]:
            Image.open(path).convert("RGB").save(folder / c.name / path.name)
    good = Candidate("mobilenet_v2", str(test_data / "weights/mobilenet_v2.pth"))
    torch.manual_seed(0)
    torch.save(models.build("shufflenet_v2_x0_5", 1000).state_dict(), tmp_path / "random.pth")
    bad = Candidate("shufflenet_v2_x0_5", str(tmp_path / "random.pth"))
    found = probe(load(str(folder)), [bad, good], Options(device="cpu"), {}, print)
    assert found.best.model.startswith("mobilenet_v2")
    assert found.best.judged.accuracy > 0.9
    assert found.chance(next(one for one in found.found if one.model == bad.model)) < 0.05


def test_a_model_that_is_named_twice_is_tried_once(try_out, weights):
    found = try_out(*[candidate(weights, "cifar10_cnn")] * 2)
    assert [one.model for one in found.found] == ["cifar10_cnn"]
