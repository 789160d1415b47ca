"""The trainer and the evaluator: frozen, accumulated, in every precision."""

import dataclasses

import pytest
import torch
from torch import nn

from ignite_vision.errors import UserError
from tests.helpers.runs import built, train, weights


def test_validation_is_never_augmented(make_run):
    class Invert:
        draws = 1

        def __call__(self, images, u, size):
            return 255 - images

    run = make_run(augment=(Invert(),))
    run = built(run)
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
    run = make_run(precision="bf16")
    run = built(run)
    run.trainer.run(run.loaders.train, max_epochs=1)
    assert run.trainer.state.output["loss"].dtype == torch.float32
    assert run.trainer.state.output["y_pred"].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


def test_fp16_is_refused_on_a_cpu(make_run):
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        make_run(precision="fp16")


def test_a_class_weighted_loss_trains(make_run):
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0]), label_smoothing=0.1)
    assert train(make_run(loss=weighted)).metrics["n"] == 24


def test_an_optimizer_that_needs_a_closure_is_refused_also_from_a_function(make_run):
    prepared = make_run(optimizer=lambda params, lr: torch.optim.LBFGS(params, lr))
    with pytest.raises(UserError, match="LBFGS"):
        built(prepared)


def test_a_loss_of_each_image_is_one_line(make_run):
    def of_each(logits, targets):
        return nn.functional.cross_entropy(logits, targets, reduction="none")

    with pytest.raises(UserError, match="loss"):
        train(make_run(loss=of_each))
