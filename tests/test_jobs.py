"""A whole command's work: when a run is finished, what it is refused for, and that no work is lost."""

import csv
import dataclasses
import json
import shutil

import pytest
import torch
from ignite.engine import Events
from torch.nn.functional import cross_entropy

from ignite_vision import Classifier, datasets
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluation.calibration import abstain_below, fit_temperature
from ignite_vision.evaluation.metrics import TABLES
from ignite_vision.jobs import rehearse, train_and_evaluate
from ignite_vision.models.model_file import read_header
from tests.helpers.runs import said, train

PHOTOS = {"data_function": datasets.image_folder, "model": "cifar10_cnn", "cache": "none"}


def numbers(prepared):
    return json.loads(prepared.directory.metrics.read_text())


class TestFinished:
    def test_a_finished_run_is_not_trained_again(self, make_run):
        first = train(make_run())
        again = train(make_run())
        assert again.finished_before
        assert again.metrics == first.metrics

    def test_results_say_of_which_weights_and_epoch_they_are(self, make_run):
        prepared = make_run(epochs=3)
        train(prepared)
        header = read_header(prepared.directory.model)
        found = numbers(prepared)
        assert found["weights"] == header["weights_sha256"]
        assert (found["epoch"], found["epochs"]) == (header["epoch"], header["epochs"]) == (header["epoch"], 3)
        assert header["metrics"] == {name: value for name, value in found.items() if name not in TABLES}

    @pytest.mark.parametrize("field", ["weights", "epoch", "epochs", "split"])
    def test_results_of_another_model_do_not_finish_it(self, make_run, field):
        prepared = make_run()
        train(prepared)
        right = prepared.directory.metrics.read_bytes()
        odd = {"weights": "0" * 64, "epoch": 7, "epochs": 7, "split": "val"}
        prepared.directory.metrics.write_text(json.dumps(numbers(prepared) | {field: odd[field]}))
        assert not train(make_run()).finished_before
        assert prepared.directory.metrics.read_bytes() == right

    def test_a_model_that_was_not_tested_yet_is_not_finished(self, make_run, monkeypatch):
        from ignite_vision import jobs

        with monkeypatch.context() as patched:
            patched.setattr(jobs, "predict_test", lambda run: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                train(make_run())
        prepared = make_run()
        assert read_header(prepared.directory.model)["metrics"]["split"] == "val"
        assert not train(prepared).finished_before
        assert read_header(prepared.directory.model)["metrics"]["split"] == "test"

    def test_a_finished_run_whose_code_changed_is_refused(self, make_run):
        prepared = make_run()
        train(prepared)
        settings = prepared.directory.read_settings()
        settings["sources"] = {name: "0" * 64 for name in settings["sources"]}
        prepared.directory.write_settings(settings)
        with pytest.raises(UserError, match="the recipe's code changed since this run finished: conftest.py"):
            train(make_run())

    def test_a_damaged_history_is_one_line(self, make_run):
        prepared = make_run()
        train(prepared)
        prepared.directory.history.write_text('{"epoch": 1}\n')
        with pytest.raises(UserError, match="cannot read history.jsonl: .*another --out") as failure:
            train(make_run())
        assert failure.value.code == DAMAGED

    def test_a_loss_that_is_not_a_number_is_null_in_every_file(self, make_run):
        class Broken(torch.nn.Module):
            """Answers with NaN when it is not trained."""

            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(64, 3)

            def forward(self, images):
                return self.layer(images.flatten(1)) * (1.0 if self.training else float("nan"))

        prepared = make_run(model=lambda num_classes: Broken())
        train(prepared)
        assert numbers(prepared)["loss"] is None
        assert read_header(prepared.directory.model)["metrics"]["loss"] is None
        again = train(make_run(model=prepared.recipe.model))
        assert again.finished_before and again.metrics["loss"] != again.metrics["loss"]


class TestCalibration:
    """Fitted on validation, written to the header, applied to what is shown and to nothing else."""

    @pytest.fixture
    def trained(self, make_run):
        prepared = make_run(epochs=1, lr=0.02, val_fraction=0.5)
        train(prepared)
        return prepared

    def test_the_temperature_is_that_of_the_validation_logits(self, trained):
        header = read_header(trained.directory.model)
        classifier = Classifier.load(trained.directory, device="cpu", network=trained.recipe.model(3))
        predictions = classifier.evaluate(trained.splits.val, workers=0)
        assert header["temperature"] == fit_temperature(predictions.logits, predictions.targets) != 1
        assert header["abstain_below"] == abstain_below(predictions.probabilities, predictions.targets)
        assert not any("not calibrated" in line for line in said(trained))

    def test_the_loss_stays_raw_and_the_calibrated_one_stands_beside_it(self, trained):
        header = read_header(trained.directory.model)
        network = trained.recipe.model(3)
        predictions = Classifier.load(trained.directory, network=network).evaluate(trained.splits.test, workers=0)
        found = numbers(trained)
        assert found["loss"] == cross_entropy(predictions.logits.double(), predictions.targets).item()
        divided = predictions.logits.double() / header["temperature"]
        assert found["calibrated_loss"] == cross_entropy(divided, predictions.targets).item() != found["loss"]

    def test_predictions_csv_shows_calibrated_probabilities(self, trained):
        network = trained.recipe.model(3)
        predictions = Classifier.load(trained.directory, network=network).evaluate(trained.splits.test, workers=0)
        with (trained.directory / "predictions.csv").open(newline="") as file:
            shown = [row["probability"] for row in csv.DictReader(file)]
        assert shown == [f"{p:.6f}" for p in predictions.probabilities.max(1).values.tolist()]
        assert shown != [f"{p:.6f}" for p in predictions.logits.double().softmax(1).max(1).values.tolist()]

    def test_of_few_images_is_left_out_and_said(self, make_run):
        prepared = make_run(epochs=1)
        train(prepared)
        assert read_header(prepared.directory.model)["temperature"] == 1.0
        assert numbers(prepared)["calibrated_loss"] == numbers(prepared)["loss"]
        said_so = [line for line in said(prepared) if "not calibrated" in line]
        assert said_so == ["note: only 24 validation images, where 50 are needed: the probabilities are not calibrated"]


class TestDamagedImages:
    def test_a_new_run_is_refused_before_anything_is_written(self, make_run, image_folder):
        prepared = make_run(data=image_folder, **PHOTOS)
        paths = [prepared.splits.test.path(i) for i in (1, 4)]
        for path in paths:
            path.write_bytes(path.read_bytes()[:-40])
        for job in (train, rehearse):
            with pytest.raises(
                UserError, match=rf"2 image files cannot be read, the first: .* \({paths[0]}\)"
            ) as failure:
                job(prepared)
            assert failure.value.code == 2
        assert {path.name for path in prepared.directory.path.iterdir()} <= {".lock"}

    def test_one_that_breaks_while_it_trains_costs_nothing(self, make_run, image_folder, tmp_path):
        """The model is there, the error says how to resume, and another file of that name will do."""

        def handlers(run):
            @run.trainer.on(Events.EPOCH_COMPLETED(once=2))
            def break_one():
                path = run.splits.test.path(2)
                path.write_bytes(path.read_bytes()[:-40])

        one = make_run(data=image_folder, handlers=handlers, **PHOTOS)
        with pytest.raises(UserError, match=r"the file is cut off \(.*\)\. The model is trained") as failure:
            train(one)
        broken, other = one.splits.test.path(2), one.splits.test.path(3)
        assert failure.value.path == str(broken)
        assert "replace this file and run the same command again" in str(failure.value)
        assert one.directory.model.is_file() and not one.directory.metrics.exists()

        shutil.copyfile(other, broken)
        again = make_run(data=image_folder, handlers=handlers, **PHOTOS)
        outcome = train(again)
        assert any("test images were replaced before there were results on them" in line for line in said(again))
        assert not any("no longer bit-exact" in line for line in said(again))
        assert outcome.metrics == train(make_run(out=tmp_path / "whole", data=image_folder, **PHOTOS)).metrics
        assert train(make_run(data=image_folder, handlers=handlers, **PHOTOS)).finished_before

    def test_a_training_image_is_not_exchanged_so(self, make_run, image_folder):
        prepared = make_run(data=image_folder, **PHOTOS)
        train(prepared)
        prepared.directory.metrics.unlink()
        shutil.copyfile(prepared.splits.train.path(3), prepared.splits.train.path(2))
        with pytest.raises(UserError, match="the data changed since this run began: 'apple/"):
            train(make_run(data=image_folder, **PHOTOS))

    def test_a_test_image_is_not_exchanged_where_there_are_results(self, make_run, image_folder):
        prepared = make_run(data=image_folder, **PHOTOS)
        train(prepared)
        shutil.copyfile(prepared.splits.test.path(3), prepared.splits.test.path(2))
        with pytest.raises(UserError, match="the data changed since this run began: '"):
            train(make_run(data=image_folder, epochs=3, **PHOTOS))


def test_a_run_that_stopped_early_says_so_whatever_number_of_epochs_is_asked_for(make_run):
    fields = {"patience": 1, "lr": 1e-30}
    first = train(make_run(epochs=9, **fields))
    again = train(make_run(epochs=50, **fields))
    assert (first.stopped_early, again.stopped_early, again.finished_before) == (True, True, True)
    assert first.epochs == again.epochs == 2


def test_a_rehearsal_leaves_nothing_and_says_what_the_run_would_use(make_run, tmp_path):
    plan, finding = rehearse(make_run())
    assert plan.kind == "resident"
    assert "trained two batches (loss" in finding
    assert not (tmp_path / "run").exists()


def test_what_the_files_show_is_said_before_the_first_epoch(image_folder, make_run):
    (image_folder / "banana" / "same.jpg").write_bytes((image_folder / "apple" / "00.jpg").read_bytes())
    for number in range(9):
        (image_folder / "cherry" / f"{number:02}.jpg").unlink()
    said = []
    fields = {"data_function": datasets.image_folder, "model": "cifar10_cnn", "image_size": 32, "epochs": 1}
    prepared = make_run(data=image_folder, **fields)
    prepared = dataclasses.replace(prepared, say=said.append)
    train_and_evaluate(prepared, lambda *_: said.append("announced"))
    before = said[: said.index("announced")]
    assert [line for line in before if line.startswith("warning: 1 pair of equal files")]
    assert [line for line in before if line.startswith("warning: 1 class with fewer than 8 images ('cherry' has 3)")]
