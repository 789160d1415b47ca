"""TODO."""

import torch

from ignite_vision.system import environment

CPU = torch.device("cpu")


OLD_DRIVER = "int cuDriverGetVersion(int *v) { *v = 12020; return 0; } int cuInit(unsigned f) { return 0; }"


def test_the_record_names_all_that_decides_the_last_bits():
    record = environment.record(CPU, "fp32")
    assert set(record) == {
        "versions",
        "device",
        "processor",
        "cpu_capability",
        "threads",
        "processes",
        "precision",
        "deterministic",
    }
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
