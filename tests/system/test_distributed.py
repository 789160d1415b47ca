"""Several processes speak to each other; one alone has nothing to say."""

import pytest
import torch

from ignite_vision.errors import UserError
from ignite_vision.system import distributed
from tests.promises.test_processes import together

CPU = torch.device("cpu")
LAUNCHERS = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS")


def exchanged():
    """Return what this process gets from the others in each way."""
    rank = distributed.rank()
    rows = torch.full((rank + 1, 2), float(rank))
    model = torch.nn.BatchNorm1d(1)
    model.running_mean.fill_(rank)
    distributed.equalise_buffers(model)
    distributed.barrier()
    return {
        "from_first": distributed.from_first(lambda: f"said by {rank}"),
        "gather": distributed.gather(rank),
        "largest": distributed.largest(rank, -rank),
        "all_rows": distributed.all_rows(rows)[:, 0].tolist(),
        "buffers": model.running_mean.item(),
        "is_first": distributed.is_first(),
        "counts": (distributed.count(), distributed.local_count(), distributed.local_rank()),
    }


def test_one_process_alone_keeps_what_it_has():
    assert exchanged() == {
        "from_first": "said by 0",
        "gather": [0],
        "largest": [0, 0],
        "all_rows": [0.0],
        "buffers": 0.0,
        "is_first": True,
        "counts": (1, 1, 0),
    }
    layer = torch.nn.Linear(1, 1)
    assert distributed.in_parallel(layer, CPU) is layer


@pytest.mark.slow
def test_three_processes_know_alike_what_one_of_them_knows():
    for rank, answer in enumerate(together(3, exchanged)):
        assert answer == {
            "from_first": "said by 0",
            "gather": [0, 1, 2],
            "largest": [2, 0],
            "all_rows": [0.0, 1.0, 1.0, 2.0, 2.0, 2.0],
            "buffers": 0.0,
            "is_first": rank == 0,
            "counts": (3, 3, rank),
        }


@pytest.mark.parametrize(
    ("variables", "launched"),
    [
        ({}, False),
        ({"RANK": "0"}, False),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, False),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, True),
    ],
)
def test_torchrun_and_srun_are_known_by_their_variables(monkeypatch, variables, launched):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed.launched() is launched


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(UserError, match="process 3 of this machine has no GPU: it sees 1") as refusal:
        distributed.join("nccl")
    assert "--gpus-per-node" in str(refusal.value)
