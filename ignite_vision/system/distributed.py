"""Several processes, by Ignite's idist over torch.distributed. With one process nothing here does anything.

What every process must know alike (which checkpoint, whether to stop) goes over a gloo group on the CPU: no GPU has to
be waited for. Every process must make the same calls in the same order; one that does not is waited for until PATIENCE
is over, and then all of them end.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any, TypeVar

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import nn

from ignite_vision.errors import UserError

T = TypeVar("T")

PATIENCE = 600.0  # seconds that one process waits for another; $IGNITE_VISION_PATIENCE
_talk: list[Any] = []  # the group, once there is one


def launched() -> bool:
    """Whether torchrun or srun started this process as one of several."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return True
    return "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1


def join(backend: str) -> None:
    """Find the other processes, by torchrun's variables or srun's. backend: nccl or gloo.

    With gloo this process and its children see no GPU afterwards. UserError with nccl when it has no GPU to
    itself.
    """
    if backend == "gloo":  # Ignite would choose this process's GPU, of which there may be fewer
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    else:
        _expect_gpu(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
    patience = datetime.timedelta(seconds=float(os.environ.get("IGNITE_VISION_PATIENCE", PATIENCE)))
    idist.initialize(backend, timeout=patience)
    _talk.append(dist.new_group(backend="gloo", timeout=patience) if backend == "nccl" else None)


def _expect_gpu(number: int) -> None:
    seen = torch.cuda.device_count()
    if number >= seen:
        what = f"process {number} of this machine has no GPU: it sees {seen}"
        raise UserError(what, next_step="Start one per GPU; with srun use --gpus-per-node, not --gpus-per-task.")


def part() -> None:
    """Leave the group."""
    _talk.clear()
    idist.finalize()


def count() -> int:
    """Number of processes."""
    return idist.get_world_size() if _talk else 1


def rank() -> int:
    """Number of this process, from 0."""
    return idist.get_rank() if _talk else 0


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return idist.get_local_rank() if _talk else 0


def local_count() -> int:
    """Number of processes on this machine."""
    return idist.get_nproc_per_node() if _talk else 1


def is_first() -> bool:
    """Whether this process is the one that writes, prints and decides."""
    return rank() == 0


def from_first(make: Callable[[], T]) -> T:
    """What make() returns in process 0, in every process; the others do not call it. It must be picklable."""
    if count() == 1:
        return make()
    box = [make() if is_first() else None]
    dist.broadcast_object_list(box, src=0, group=_talk[0])
    return box[0]  # type: ignore[return-value]


def gather(value: T) -> list[T]:
    """[value of process 0, of process 1, ...], in every process. They must be picklable."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value, group=_talk[0])
    return values


def largest(*numbers: int) -> list[int]:
    """Each number's largest over all processes."""
    if count() == 1:
        return list(numbers)
    tensor = torch.tensor(numbers)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=_talk[0])
    return tensor.tolist()


def all_rows(rows: torch.Tensor) -> torch.Tensor:
    """(n_0,...) of process 0, (n_1,...) of process 1 and so on -> (n_0 + n_1 + ..., ...), on the CPU."""
    rows = rows.cpu()
    if count() == 1:
        return rows
    sizes = gather(len(rows))
    padded = torch.zeros((max(sizes), *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    found = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(found, padded, group=_talk[0])
    return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])


def barrier() -> None:
    """Return when every process has called this."""
    gather(None)


def in_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """Have backward() average the gradients over all processes; the network itself with one.

    Not idist.auto_model: where there is a GPU it moves a run on the CPU there.
    """
    if count() == 1:
        return network
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids, gradient_as_bucket_view=True)


def equalise_buffers(model: nn.Module) -> None:
    """Give every process the buffers of process 0: each averages BatchNorm's statistics over its own images."""
    if count() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
