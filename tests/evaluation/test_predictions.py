"""What a model says of images: as probabilities and labels, in the images' order."""

import torch

from ignite_vision.evaluation.predictions import Predictions, predict
from tests.helpers.runs import built


def test_probabilities_sum_to_one_and_labels_are_the_most_probable():
    logits = torch.tensor([[1.0, 2.0, 0.5], [900.0, -900.0, 0.0]])
    found = Predictions(("a", "b"), torch.tensor([1, 0]), logits, ("x", "y", "z"))
    assert found.probabilities.dtype == torch.float64
    assert torch.allclose(found.probabilities.sum(1), torch.ones(2, dtype=torch.float64))
    assert found.labels.tolist() == [1, 0]


def test_an_evaluator_answers_for_every_image_once_in_order(make_run):
    run = built(make_run(workers=2, cache="none"))
    found = predict(run.evaluator, run.rows.eval_loader("test"), run.splits.test, run.splits.classes)
    assert found.ids == tuple(run.splits.test.sample_id(i) for i in range(24))
    assert found.targets.equal(run.splits.test.targets)
    pixels = torch.stack([run.canvas(run.splits.test[i][0]) for i in range(24)]).float()
    with torch.no_grad():
        assert torch.allclose(found.logits, run.model.eval()((pixels / 255 - 0.5) / 0.5), atol=1e-5)


def test_the_loaders_workers_end_with_it(make_run):
    run = built(make_run(workers=2, cache="none"))
    loader = run.rows.eval_loader("test")
    predict(run.evaluator, loader, run.splits.test, run.splits.classes)
    assert not any(worker.is_alive() for worker in loader._iterator._workers)
