"""Predictions: an evaluator over a loader, every image once, in order."""

import torch

from ignite_vision.evaluation.predictions import predict
from ignite_vision.training.engines import make_evaluator
from tests.helpers.predictions import predictions
from tests.helpers.runs import built


def test_probabilities_are_float64_and_sum_to_one():
    found = predictions([0, 1], [1, 1])
    assert found.probabilities.dtype == torch.float64
    assert torch.allclose(found.probabilities.sum(1), torch.ones(2, dtype=torch.float64), atol=1e-15)
    assert found.labels.tolist() == [1, 1]


def test_every_image_is_there_once_in_the_splits_order_and_no_hook_of_the_recipes_fires(make_run):
    run = built(make_run())
    hooked = []
    run.evaluator.add_event_handler("EPOCH_COMPLETED", lambda engine: hooked.append(1))
    evaluator = make_evaluator(run.network, run.preprocessing, run.precision, run.device, run.plan.kind)
    found = predict(evaluator, run.rows.eval_loader("val"), run.splits.val, run.splits.classes)
    assert found.ids == tuple(run.splits.val.sample_id(i) for i in range(len(run.splits.val)))
    assert found.targets.equal(run.splits.val.targets)
    assert found.logits.shape == (len(run.splits.val), 3)
    assert not hooked
