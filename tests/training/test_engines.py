"""The trainer and the evaluator: what a batch becomes, and what of a recipe's no step could be made of."""

import dataclasses

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Accuracy
from torch import nn

from ignite_vision import Splits
from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import UserError
from ignite_vision.training.engines import weighed, weighted_cross_entropy
from tests.conftest import small_net, squares
from tests.helpers.runs import assert_same_results, built, fitted, history, interrupted, train, weights


def one_line(prepared, match):
    """Train, and expect an error of one line."""
    with pytest.raises(UserError, match=match) as failure:
        train(prepared)
    assert "\n" not in str(failure.value)


def test_validation_is_never_augmented(make_run):
    class Invert:
        draws = 1

        def __call__(self, images, u, size):
            return 255 - images

    run = built(make_run(augment=(Invert(),)))
    seen = []
    run.model.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0].mean().item())))
    run.trainer.run(run.loaders.train, max_epochs=1)
    run.evaluator.run(run.loaders.val)
    trained = [mean for training, mean in seen if training]
    validated = [mean for training, mean in seen if not training]
    assert min(trained) > max(validated) + 0.05  # dark and middle pictures are more than bright ones when inverted


@pytest.mark.parametrize("n", [17, 24, 31, 32])
def test_metrics_weigh_every_image_once_whatever_the_last_batch(make_run, n):
    run = make_run()
    run = dataclasses.replace(run, splits=dataclasses.replace(run.splits, val=run.splits.train.subset(range(n))))
    run = built(run)
    run.evaluator.run(run.loaders.val)
    with torch.no_grad():
        images = torch.cat([batch[0][: len(batch[1])] for batch in run.loaders.val]).float()
        logits = run.model.eval()((images / 255 - 0.5) / 0.5)
    right = (logits.argmax(1) == run.splits.val.targets).float().mean().item()
    assert run.evaluator.state.metrics["accuracy"] == pytest.approx(right, abs=1e-7)
    loss = nn.functional.cross_entropy(logits, run.splits.val.targets).item()
    assert run.evaluator.state.metrics["loss"] == pytest.approx(loss, rel=1e-4)


def test_running_accuracy_is_that_of_the_training_batches(make_run):
    def handlers(run):
        Accuracy().attach(run.trainer, "ignites")

    run = fitted(make_run(epochs=1, handlers=handlers))
    assert history(run)[0]["train_accuracy"] == pytest.approx(run.trainer.state.metrics["ignites"])


def test_frozen_layers_and_their_statistics_stay_as_they_were(make_run):
    def backbone(num_classes):
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            nn.Linear(144, num_classes),
        )

    run = make_run(model=backbone, trainable="head")
    before = weights(run)
    train(run)
    changed = {name for name, tensor in weights(run).items() if not tensor.equal(before[name])}
    assert changed == {"1.weight", "1.bias"}


def test_gradient_accumulation_equals_the_whole_batch(make_run, tmp_path):
    def linear(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    whole = make_run(out=tmp_path / "whole", model=linear, optimizer="sgd", batch_size=16)
    parts = make_run(out=tmp_path / "parts", model=linear, optimizer="sgd", batch_size=16, accumulate=2)
    train(whole)
    train(parts)
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], atol=1e-6)


def test_accumulation_never_carries_a_gradient_over_an_epochs_end(make_run):
    steps = []

    def handlers(run):
        run.optimizer.register_step_post_hook(lambda *_: steps.append(run.trainer.state.iteration))

    run = make_run(batch_size=24, accumulate=2, handlers=handlers)  # 72 images: 6 halves an epoch
    train(run)
    assert steps == [2, 4, 6, 8, 10, 12]


def test_bf16_computes_its_loss_in_float32(make_run):
    run = built(make_run(precision="bf16"))
    run.trainer.run(run.loaders.train, max_epochs=1)
    assert run.trainer.state.output["loss"].dtype == torch.float32
    assert run.trainer.state.output["y_pred"].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


class TestBatchOfOne:
    def test_a_batch_norm_that_sees_one_value_is_one_line(self, make_run, tmp_path):
        def pooled(num_classes):
            return nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, num_classes)
            )

        one_line(make_run(model=pooled, batch_size=1), "BatchNorm cannot train on one image at a time.*--batch-size")
        halves = make_run(out=tmp_path / "halves", model=pooled, batch_size=2, accumulate=2)
        one_line(halves, "BatchNorm cannot train on one image")

    def test_one_that_sees_many_pixels_trains(self, make_run):
        assert train(make_run(batch_size=1, epochs=1)).epochs == 1

    def test_another_error_of_the_model_stays_what_it_is(self, make_run):
        class Broken(nn.Linear):
            def forward(self, _images):
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            train(make_run(model=lambda num_classes: Broken(64, num_classes)))


class TestOptimizer:
    def test_may_have_groups_and_leave_parameters_out(self, make_run):
        def groups(params, lr):
            first, second, *_left_out = params
            return torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": lr / 10}], lr)

        run = make_run(optimizer=groups)
        before = weights(run)
        train(run)
        names = [name for name, _ in run.model.named_parameters()]
        changed = [name for name in names if not weights(run)[name].equal(before[name])]
        assert names[0] in changed
        assert set(changed) <= set(names[:2])
        assert history(run)[0]["lr"] == 0.001

    @pytest.mark.parametrize("named", [torch.optim.LBFGS, type("Mine", (torch.optim.LBFGS,), {})])
    def test_that_needs_a_closure_is_refused_where_a_function_returns_it(self, make_run, named):
        one_line(make_run(optimizer=lambda params, lr: named(params, lr)), "LBFGS cannot be used: it calls a closure")

    def test_is_what_a_function_has_to_return(self, make_run):
        one_line(make_run(optimizer=lambda _params, _lr: None), "optimizer function returned NoneType, not an Optim")


class TestLoss:
    @pytest.mark.parametrize(
        ("loss", "what"),
        [
            (lambda x, y: nn.functional.cross_entropy(x, y, reduction="none"), r"returned shape \(16,\), not one"),
            (lambda x, y: nn.functional.cross_entropy(x, y)[None], r"returned shape \(1,\), not one number"),
            (lambda x, y: nn.functional.cross_entropy(x, y).item(), "returned a float, not a tensor"),
            (lambda x, y: nn.functional.cross_entropy(x, y).detach(), "does not depend on the model"),
            (lambda _x, _y: None, "returned a NoneType, not a tensor"),
        ],
        ids=["one each", "a list", "float", "detached", "nothing"],
    )
    def test_that_is_no_number_with_a_gradient_is_one_line(self, make_run, loss, what):
        one_line(make_run(loss=loss), f"the recipe's loss {what}")

    def test_may_weigh_classes(self, make_run):
        loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)
        run = fitted(make_run(loss=loss, epochs=1))
        output = run.trainer.state.output
        assert output["loss"] == pytest.approx(loss(output["y_pred"], output["y"]).item())
        assert train(make_run(loss=loss, epochs=1)).epochs == 1


def test_each_iteration_draws_its_own_dropout_whoever_drew_before(make_run):
    drawn = []

    def net(num_classes):
        network = small_net(num_classes)

        def look(module, _images, output):
            if module.training:
                drawn.append(output == 0)

        network[4].register_forward_hook(look)
        return network

    def handlers(run):
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: torch.rand(7))

    def quiet(run):
        pass

    train(make_run(model=net, epochs=1, handlers=handlers))
    first, drawn[:] = list(drawn), []
    fitted(make_run(model=net, epochs=1, handlers=quiet, out=make_run().directory.path.with_name("other")))
    assert len(first) == len(drawn) == 4
    assert all(one.equal(other) for one, other in zip(first, drawn, strict=True))
    assert not first[0].equal(first[1])


def unequal(root):
    """The squares, without most of the bright ones."""
    given = squares(root)
    targets = given.train.targets
    return Splits(
        given.train.subset(torch.nonzero((targets < 2) | (torch.arange(120) < 30))[:, 0]), classes=given.classes
    )


class TestUnequalClasses:
    def test_weights_are_in_the_training_loss_and_in_no_other(self, make_run, tmp_path):
        fields = {"data_function": unequal, "epochs": 1, "lr": 1e-9}  # the same network throughout
        plain = fitted(make_run(out=tmp_path / "plain", **fields))
        weighted = fitted(make_run(out=tmp_path / "weighted", class_weights={"bright": 1e3}, **fields))
        (row,), (other,) = history(plain), history(weighted)
        assert other["train_loss"] > 50 * row["train_loss"]
        assert other["val_loss"] == pytest.approx(row["val_loss"], rel=1e-3)

    def test_weighted_parts_of_a_batch_add_up_to_the_whole_for_soft_targets_too(self):
        logits, targets, weights = torch.randn(8, 3), torch.arange(8) % 3, torch.tensor([0.5, 1, 4])
        soft = nn.functional.one_hot(targets, 3).float()
        for kind in (targets, soft):
            whole = weighted_cross_entropy(logits, kind, weights)
            parts = [weighted_cross_entropy(logits[k : k + 4], kind[k : k + 4], weights) for k in (0, 4)]
            assert whole == pytest.approx(sum(parts) / 2)
        each = nn.functional.cross_entropy(logits, targets, reduction="none")
        assert weighted_cross_entropy(logits, soft, weights) == pytest.approx(float((weights[targets] * each).mean()))

    @pytest.mark.parametrize("fields", [{"class_weights": "balanced"}, {"sampler": "balanced"}])
    def test_a_run_stopped_in_its_second_epoch_ends_with_the_same_bytes(self, make_run, tmp_path, fields):
        fields = {"data_function": unequal, "augment": (RandomHorizontalFlip(),), "epochs": 3, **fields}
        whole = make_run(out=tmp_path / "whole", **fields)
        train(whole)
        interrupted(make_run(out=tmp_path / "parts", **fields), at=5)
        again = make_run(out=tmp_path / "parts", **fields)
        train(again)
        assert_same_results(whole, again)

    def test_a_weight_of_no_class_is_refused_before_anything_is_trained(self, make_run):
        with pytest.raises(UserError, match="class_weights names 'brigth'.* Did you mean 'bright'"):
            make_run(class_weights={"brigth": 2.0})


class TestWeightsOfImages:
    """A manifest's: the loss is the mean of weight times cross entropy, whatever else the recipe has."""

    @staticmethod
    def by_hand(logits, targets, weights):
        return (nn.functional.cross_entropy(logits, targets, reduction="none") * weights).mean()

    def test_the_loss_is_the_mean_of_weight_times_cross_entropy(self):
        logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
        weights = torch.tensor([0.5, 1, 2, 1, 3, 0.1])
        found = nn.functional.cross_entropy(logits, weighed(targets, 3, weights))
        assert found.item() == pytest.approx(self.by_hand(logits, targets, weights).item(), rel=1e-6)
        of_class = torch.tensor([1.0, 2.0, 0.5])
        found = weighted_cross_entropy(logits, weighed(targets, 3, weights), of_class)
        expected = self.by_hand(logits, targets, weights * of_class[targets])
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        assert weighed(targets, 3) is targets

    @staticmethod
    def data(folder, factor=3.0):
        given = squares(folder)
        given.train.weights = torch.where(given.train.targets == 2, factor, 1.0)
        return given

    def test_they_do_what_the_same_weights_of_classes_do(self, make_run, tmp_path):
        by_image = make_run(data_function=self.data)
        by_class = make_run(out=tmp_path / "class", class_weights={"bright": 3.0})
        fitted(by_image), fitted(by_class)
        for one, other in zip(history(by_image), history(by_class), strict=True):
            assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
            assert one["train_accuracy"] == other["train_accuracy"]

    def test_a_run_of_them_that_was_stopped_ends_with_the_same_bytes(self, make_run, tmp_path):
        whole = make_run(out=tmp_path / "whole", data_function=self.data, augment=(RandomHorizontalFlip(),))
        train(whole)
        interrupted(make_run(data_function=self.data, augment=(RandomHorizontalFlip(),)), at=6)
        resumed = make_run(data_function=self.data, augment=(RandomHorizontalFlip(),))
        train(resumed)
        assert_same_results(whole, resumed)

    def test_features_are_weighed_alike(self, make_run, tmp_path):
        fields = {"trainable": "head", "model": small_net, "data_function": self.data}
        one, other = make_run(cache="features", **fields), make_run(out=tmp_path / "b", cache="none", **fields)
        train(one), train(other)
        assert (one.directory / "history.jsonl").read_bytes() == (other.directory / "history.jsonl").read_bytes()

    def test_a_loss_of_the_recipes_own_and_logistic_regression_do_not_heed_them(self, make_run):
        with pytest.raises(UserError, match="the manifest has weights, and the recipe has its own loss"):
            make_run(data_function=self.data, loss=nn.CrossEntropyLoss())
        prepared = make_run(data_function=self.data, trainable="head", head="logistic")
        one_line(prepared, "cannot be trained by logistic regression: the manifest has weights")
