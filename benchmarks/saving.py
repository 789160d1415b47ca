"""Measure what one checkpoint of ResNet-50 with SGD and momentum takes: bytes, seconds, and how often that is 1 %.

python -m benchmarks.saving
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from ignite_vision.loading.plan import choose
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.training.checkpoint import steps
from ignite_vision.training.run import build
from ignite_vision.training.saving import SAVE_SHARE, save_checkpoints
from ignite_vision.training.settings import write_settings

SAVES = 7


def momentum(params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Build SGD with momentum: one more tensor for each parameter."""
    return torch.optim.SGD(params, lr, momentum=0.9)


def main() -> None:
    """Train one iteration, so that there is momentum, keep a best epoch, save again and again."""
    loaded = load("digits")
    recipe = dataclasses.replace(loaded.recipe, model="resnet50", optimizer=momentum, batch_size=8)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        options = Options(out=Path(folder) / "run")
        prepared = prepare(dataclasses.replace(loaded, recipe=recipe), {}, options, print)
        run = build(prepared, choose(prepared))
        run.directory.path.mkdir()
        write_settings(run, run.plan)
        run.trainer.run(run.loaders.train, max_epochs=1, epoch_length=1)
        run.best.weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        run.saver.keep("best", run.best)
        save_checkpoints(run.saver)
        seconds = []
        for iteration in range(SAVES):
            run.trainer.state.iteration = 1 + iteration
            begin = time.perf_counter()
            run.save()
            seconds.append(time.perf_counter() - begin)
        files = list(steps(run.directory.checkpoints)[-1].iterdir())
        size = sum(path.stat().st_size for path in files) / 1e6
    median = statistics.median(seconds)
    print(f"{size:,.0f} MB: {median:.2f} s ({min(seconds):.2f}–{max(seconds):.2f})")
    print(f"at most every {median / SAVE_SHARE:,.0f} s, so that it takes {SAVE_SHARE:.0%} of the time")


if __name__ == "__main__":
    main()
