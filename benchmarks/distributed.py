"""Scaling from one process to two, and what our layer costs over bare DistributedDataParallel. gloo, a thread each.

What the machine itself allows is measured beside it: two processes that never speak to each other, half a batch each.

python -m benchmarks.distributed
MODEL=resnet18 SIDE=64 python -m benchmarks.distributed
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_vision import Recipe, Splits
from ignite_vision.data.containers import ArrayImages
from ignite_vision.loading.plan import choose
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.system import distributed
from ignite_vision.system.process import tune_processor
from ignite_vision.training import saving
from ignite_vision.training.engines import forward_in, prepare_training
from ignite_vision.training.handlers import count_training
from ignite_vision.training.run import Run, build
from ignite_vision.training.saving import save_checkpoints
from ignite_vision.training.stopping import stop_flag

MODEL, SIDE = os.environ.get("MODEL", "densenet121"), int(os.environ.get("SIDE", "160"))  # pixels
BATCH = 32
ITERATIONS, ROUNDS = 2, 5


def noise(_folder: Path) -> Splits:
    """Return enough random images for the iterations."""
    generator = torch.Generator().manual_seed(0)
    n = BATCH * ITERATIONS
    pixels = torch.randint(0, 256, (n + 20, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    pool = ArrayImages(pixels, torch.arange(n + 20) % 10)
    val, test = pool.subset(range(n, n + 10)), pool.subset(range(n + 10, n + 20))
    return Splits(train=pool.subset(range(n)), val=val, test=test, classes=tuple("0123456789"))


def seconds(number: int, count: int, batch: int, port: int, scratch: str, together: Any, answers: Any) -> None:
    """Answer, as process `number`, with the seconds of ITERATIONS iterations in each round: ours, and bare DDP's.

    port: 0 for a process that speaks to no other. together: a barrier.
    """
    torch.set_num_threads(1)
    tune_processor()  # as the command does
    if port:
        os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        distributed.join("gloo")
    recipe = Recipe(data=noise, model=MODEL, epochs=1, batch_size=batch, precision="fp32", image_size=SIDE)
    loaded = LoadedRecipe(recipe, "noise", "noise", Path(__file__))
    prepared = prepare(loaded, {}, Options(out=Path(scratch), device="cpu", workers=0), lambda _line: None)
    saving.FIRST_SAVE = float("inf")  # asked for in every iteration, and never due
    run = build(prepared, choose(prepared))
    count_training(run)
    save_checkpoints(run.saver)
    ours, bare = [], []
    step = bare_step(run)
    for round_number in range(ROUNDS + 1):
        pair = []
        for work in (partial(watched, run), step):
            together.wait()
            begin = time.perf_counter()
            work()
            together.wait()
            pair.append(time.perf_counter() - begin)
        if round_number:  # the first warms up
            ours.append(pair[0])
            bare.append(pair[1])
    if port:
        distributed.part()
    answers.put((number, ours, bare))


def watched(run: Run) -> None:
    """Train ITERATIONS iterations, with signals looked for as the command does."""
    with stop_flag(run).watching(run.trainer):
        run.trainer.run(run.loaders.train, max_epochs=1, epoch_length=ITERATIONS)


def bare_step(run: Any) -> Any:
    """Return as many steps of the same network in DistributedDataParallel, on one batch that is there already."""
    images, targets = prepare_training(run, run.plan.kind)(next(iter(run.loaders.train)), run.device, False)
    network = distributed.in_parallel(run.model, run.device)
    forward = forward_in(run.precision, run.device, [])

    def train() -> None:
        network.train()
        for _ in range(ITERATIONS):
            run.optimizer.zero_grad()
            nn.functional.cross_entropy(forward(network, images), targets).backward()
            run.optimizer.step()

    return train


def measure(count: int, scratch: Path, batch: int = BATCH, joined: bool = True) -> tuple[list[float], list[float]]:
    """Seconds per round with `count` processes: ours, and bare. joined: or each for itself."""
    context = multiprocessing.get_context("spawn")
    port = 0
    if joined and count > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    answers, together = context.Queue(), context.Barrier(count)
    outs = [str(scratch / f"{count}{joined}{'' if joined else number}") for number in range(count)]
    processes = [
        context.Process(target=seconds, args=(number, count, batch, port, out, together, answers))
        for number, out in enumerate(outs)
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get() for _ in processes)
    for process in processes:
        process.join()
    return found[0][1], found[0][2]


def main() -> None:
    """Print the ratios."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        single, bare_single = measure(1, scratch)
        _, strangers = measure(2, scratch, BATCH // 2, joined=False)
        ours, bare = measure(2, scratch)
    scaling = statistics.median(single) / statistics.median(ours)
    limit = statistics.median(bare_single) / statistics.median(strangers)
    cost = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
    print(f"{MODEL} at {SIDE} px, batches of {BATCH}, fp32, one thread a process")
    print(f"two processes that never speak against one: {limit:.2f} times as fast (what the machine allows)")
    print(f"two processes against one: {scaling:.2f} times as fast")
    print(f"ours against bare DistributedDataParallel, two processes: {cost:.3f} of its time")


if __name__ == "__main__":
    main()
