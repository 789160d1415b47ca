"""A model from its file alone says what the run said, to the last bit."""

import csv
import json
import shutil

import pytest
import torch
from PIL import Image

from ignite_vision import Classifier, datasets
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference.classifier import sizes_on
from ignite_vision.jobs import predict_split
from ignite_vision.models.model_file import read_header
from tests.helpers.pictures import picture, save
from tests.helpers.runs import built, interrupted, plan_of, said, train

SMALL = {"data_function": datasets.image_folder, "epochs": 1}


def own_logits(prepared):
    """(N,C): what the run's evaluator says of its test split, with the weights that were published."""
    run = built(prepared)
    state = Classifier.load(prepared.directory, device="cpu", network=prepared.model).network.state_dict()
    run.model.load_state_dict(state)
    return predict_split(run, "test").logits


def rows(prepared):
    """What predictions.csv holds."""
    with (prepared.directory / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def printed(prepared):
    """(predicted class, its probability) as predictions.csv prints them."""
    return [(row["predicted"], row["probability"]) for row in rows(prepared)]


def as_printed(logits, classifier):
    sure, labels = (logits.double() / classifier.temperature).softmax(1).max(1)
    classes = classifier.classes
    return [(classes[label], f"{p:.6f}") for label, p in zip(labels.tolist(), sure.tolist(), strict=True)]


def answers(classifier, images):
    """(N,C): a file at a time, as anyone would ask who has photographs of all sizes."""
    return torch.cat([classifier(images[i][0][None]) for i in range(len(images))])


def says_what_the_run_said(make, tmp_path):
    """make: prepares the same run each time it is called."""
    prepared = make()
    train(prepared)
    elsewhere = tmp_path / "elsewhere" / "model.safetensors"
    elsewhere.parent.mkdir()
    shutil.copyfile(prepared.directory.model, elsewhere)
    logits = answers(Classifier.load(prepared.directory, device="cpu"), prepared.splits.test)
    classifier = Classifier.load(elsewhere, device="cpu")
    assert classifier.precision == prepared.precision
    assert as_printed(logits, classifier) == printed(prepared)
    predictions = classifier.evaluate(prepared.splits.test, workers=0)
    assert predictions.logits.equal(logits)
    assert predictions.ids == tuple(row["path"] for row in rows(prepared))
    assert logits.equal(own_logits(make()))
    return prepared


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
class TestTheSameBits:
    @pytest.mark.parametrize("model", ["digits_cnn", "cifar10_cnn"])
    def test_of_our_own_networks(self, make_run, image_folder, tmp_path, model, precision):
        data = {"data_function": datasets.image_folder, "data": image_folder}
        says_what_the_run_said(lambda: make_run(model=model, precision=precision, epochs=1, **data), tmp_path)

    @pytest.mark.parametrize("fit", ["pad", "squash"])
    def test_of_images_that_are_seen_whole(self, make_run, image_folder, tmp_path, fit, precision):
        fields = {"model": "cifar10_cnn", "fit": fit, "precision": precision, "data": image_folder, **SMALL}
        prepared = says_what_the_run_said(lambda: make_run(**fields), tmp_path)
        assert read_header(prepared.directory.model)["preprocessing"]["fit"] == fit

    @pytest.mark.slow
    @pytest.mark.parametrize("model", ["squeezenet1_0", "mobilenet_v2", "resnet18"])
    def test_of_torchvisions_networks(self, make_run, image_folder, tmp_path, model, precision):
        fields = {"model": model, "image_size": 64, "precision": precision, "data": image_folder, **SMALL}
        says_what_the_run_said(lambda: make_run(**fields), tmp_path)

    @pytest.mark.slow
    @pytest.mark.real_data
    @pytest.mark.parametrize("model", ["squeezenet1_0", "mobilenet_v2"])
    def test_of_a_run_trained_on_cached_features(self, make_run, test_data, tmp_path, model, precision):
        photos = tmp_path / "photos"
        for name in ("bonsai", "brain", "buddha"):
            (photos / name).mkdir(parents=True)
            for path in sorted((test_data / "caltech101_25" / name).iterdir())[:10]:
                shutil.copyfile(path, photos / name / path.name)
        weights = tmp_path / "weights.pth"
        shutil.copyfile(test_data / "weights" / f"{model}.pth", weights)
        fields = {"model": model, "weights": str(weights), "trainable": "head", "precision": precision, **SMALL}
        fields["image_size"] = 64
        prepared = says_what_the_run_said(lambda: make_run(data=photos, **fields), tmp_path)
        assert plan_of(prepared) == "features"


@pytest.fixture
def digits(make_run):
    prepared = make_run(model="digits_cnn", epochs=1)
    train(prepared)
    return prepared


def test_nothing_but_the_model_file_is_needed(make_run, image_folder, tmp_path):
    weights = tmp_path / "weights.pth"
    from torchvision import models

    torch.save(models.squeezenet1_1().state_dict(), weights)
    prepared = make_run(
        model="squeezenet1_1", weights=str(weights), trainable="head", image_size=32, data=image_folder, **SMALL
    )
    train(prepared)
    images = torch.stack([prepared.canvas(prepared.splits.test[i][0]) for i in range(3)])
    before = Classifier.load(prepared.directory)(images)
    shutil.rmtree(image_folder)
    weights.unlink()
    for path in list(prepared.directory.path.iterdir()):
        if path.name not in ("run.json", "model.safetensors"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Classifier.load(prepared.directory)(images).equal(before)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 40])
def test_any_number_of_images_has_the_same_answers(digits, n):
    classifier = Classifier.load(digits.directory)
    images = torch.stack([digits.splits.train[i][0] for i in range(40)])
    assert classifier(images[:n]).shape == (n, 3)
    assert classifier(images[:n]).equal(classifier(images)[:n])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 31, 200), (1, 300, 9), (3, 1, 1)])
def test_images_may_have_any_size_and_be_grey_or_rgb(digits, shape):
    classifier = Classifier.load(digits.directory)
    images = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    together, alone = classifier(images), torch.cat([classifier(image[None]) for image in images])
    assert together.shape == (5, 3)
    assert together.equal(alone)
    assert together.dtype == torch.float32


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(2, 4, 8, 8, dtype=torch.uint8)],
    ids=["floats", "one image", "four channels"],
)
def test_what_is_no_batch_of_images_is_refused(digits, images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N,C,H,W\) of 1 or 3 channels, not"):
        Classifier.load(digits.directory)(images)


@pytest.mark.parametrize("batch", [8, 16, 17, 64])
def test_the_last_images_have_the_same_bits_in_a_small_batch(digits, batch):
    classifier = Classifier.load(digits.directory, device="cpu")
    canvases = torch.stack([classifier.canvas(digits.splits.train[i][0]) for i in range(40)])
    sizes = sizes_on(classifier.device, batch)
    assert sizes[-1] == batch and min(sizes) == min(batch, 16)
    for n in (1, 5, 16, 17, 40):
        assert classifier.logits(canvases[:n], sizes).equal(classifier.logits(canvases[:n], (batch,)))


def test_a_precision_may_be_chosen(digits):
    canvases = torch.stack([digits.canvas(digits.splits.train[i][0]) for i in range(3)])
    half, full = (Classifier.load(digits.directory, device="cpu", precision=name) for name in ("bf16", "fp32"))
    assert (half.precision, full.precision) == ("bf16", "fp32")
    assert not half.logits(canvases).equal(full.logits(canvases))
    assert half.logits(canvases).allclose(full.logits(canvases), atol=0.1)
    with pytest.raises(UserError, match="no precision 'half'.*auto, fp32, bf16, fp16"):
        Classifier.load(digits.directory, precision="half")


def test_probabilities_are_those_of_the_logits_divided_by_the_temperature(digits):
    header = {**read_header(digits.directory.model), "temperature": 0.5, "abstain_below": 0.8}
    classifier = Classifier(
        Classifier.load(digits.directory, device="cpu").network, header, "fp32", torch.device("cpu")
    )
    assert (classifier.temperature, classifier.abstain_below) == (0.5, 0.8)
    canvases = torch.stack([classifier.canvas(digits.splits.train[i][0]) for i in range(3)])
    expected = (classifier.logits(canvases).double() * 2).softmax(1)
    assert torch.from_numpy(classifier.probabilities(canvases)).equal(expected)


def test_answers_do_not_change_the_callers_random_numbers(digits):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Classifier.load(digits.directory)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert torch.rand(3).equal(expected)


class TestARecipesOwnNetwork:
    def test_is_refused_with_the_reason(self, make_run):
        prepared = make_run(epochs=1)
        train(prepared)
        for path in (prepared.directory, prepared.directory.model):
            with pytest.raises(
                UserError, match="the network of this model is code in a recipe: .*small_net"
            ) as failure:
                Classifier.load(path)
            assert failure.value.code == 2

    def test_is_read_into_a_network_that_the_caller_makes(self, make_run):
        prepared = make_run(epochs=1)
        train(prepared)
        network = prepared.recipe.model(3)
        classifier = Classifier.load(prepared.directory, device="cpu", network=network)
        assert as_printed(answers(classifier, prepared.splits.test), classifier) == printed(prepared)


class TestWhatIsNoModel:
    def test_a_run_that_has_none_yet(self, make_run):
        prepared = make_run(model="digits_cnn", epochs=1)
        train(prepared)
        prepared.directory.model.unlink()
        with pytest.raises(UserError, match="this run has no model yet .*ignite-vision resume"):
            Classifier.load(prepared.directory)

    @pytest.mark.parametrize("place", ["start", "header", "weights", "end"])
    def test_a_bit_that_changed_anywhere(self, digits, place):
        data = bytearray(digits.directory.model.read_bytes())
        end = 8 + int.from_bytes(data[:8], "little")
        data[{"start": 2, "header": end // 2, "weights": (end + len(data)) // 2, "end": len(data) - 1}[place]] ^= 1
        digits.directory.model.write_bytes(data)
        with pytest.raises(UserError) as failure:
            Classifier.load(digits.directory)
        assert failure.value.code == DAMAGED

    @pytest.mark.parametrize("left", [0, 1, 8, 100, 0.5, -1])
    def test_a_file_that_is_cut_off(self, digits, left):
        data = digits.directory.model.read_bytes()
        digits.directory.model.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
        with pytest.raises(UserError, match=r"model\.safetensors") as failure:
            Classifier.load(digits.directory)
        assert failure.value.code == DAMAGED

    def test_another_file(self, tmp_path):
        (tmp_path / "text").write_text(json.dumps({"a": 1}))
        with pytest.raises(UserError, match="cannot read the model") as failure:
            Classifier.load(tmp_path / "text")
        assert failure.value.code == DAMAGED

    def test_nothing_and_a_folder(self, tmp_path):
        for name, what in (("gone", "no such file"), (".", "no model.safetensors")):
            with pytest.raises(UserError, match=what) as failure:
                Classifier.load(tmp_path / name)
            assert failure.value.code == 2


class TestLargePhotographs:
    """They are decoded at a fraction of their size, by the same rule everywhere."""

    @pytest.fixture
    def large(self, tmp_path):
        root = tmp_path / "large"
        for c, name in enumerate(("apple", "banana")):
            for i in range(9):
                size = (1000 + 16 * i, 900 - 7 * i) if i % 2 else (900 - 7 * i, 1000 + 16 * i)
                save(root, f"{name}/{i}.jpg", picture(100 * c + i, size), quality=85)
        return root

    def fields(self, folder, **more):
        return {"model": "cifar10_cnn", "precision": "fp32", "data": folder, "batch_size": 8, **SMALL, **more}

    def test_a_file_alone_has_the_runs_bits(self, make_run, large, tmp_path):
        prepared = make_run(**self.fields(large))
        train(prepared)
        assert read_header(prepared.directory.model)["preprocessing"]["reader"] == 2
        classifier = Classifier.load(prepared.directory, device="cpu")
        paths = [prepared.splits.test.path(i) for i in range(len(prepared.splits.test))]
        found = [answer.probabilities for answer in classifier.predict(paths)]
        assert [(classifier.classes[p.argmax()], f"{p.max():.6f}") for p in found] == printed(prepared)
        whole = [answer.probabilities for answer in classifier.predict([Image.open(path) for path in paths])]
        assert 0 < max(abs(a - b).max() for a, b in zip(found, whole, strict=True)) < 0.02

    def test_a_run_that_began_with_whole_ones_keeps_them(self, make_run, large, monkeypatch):
        monkeypatch.setattr("ignite_vision.prepare.SCALED", 1)
        interrupted(make_run(**self.fields(large, epochs=3)), at=2)
        monkeypatch.undo()
        resumed = make_run(**self.fields(large, epochs=3))
        assert resumed.preprocessing.reader == 1
        assert "reader" not in resumed.directory.read_settings()["preprocessing"]
        train(resumed)
        assert not any("bit-exact" in line for line in said(resumed))

    def test_each_reader_has_pixels_of_its_own_on_disk(self, make_run, large, tmp_path, monkeypatch):
        scaled = make_run(**self.fields(large, cache="pixels"))
        train(scaled)
        monkeypatch.setattr("ignite_vision.prepare.SCALED", 1)
        whole = make_run(out=tmp_path / "whole", **self.fields(large, cache="pixels"))
        train(whole)
        again = make_run(out=tmp_path / "none", **self.fields(large, cache="none"))
        train(again)
        names = ("predictions.csv", "history.jsonl")
        assert all((whole.directory / n).read_bytes() == (again.directory / n).read_bytes() for n in names)
        assert any((whole.directory / n).read_bytes() != (scaled.directory / n).read_bytes() for n in names)

    def test_arrays_have_no_reader(self, make_run):
        assert make_run().preprocessing.reader == 1
