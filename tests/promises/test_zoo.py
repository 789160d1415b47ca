"""Networks of all kinds export, and answer as torch does. The others: python -m benchmarks.export_zoo."""

import importlib.util

import pytest

from benchmarks.export_zoo import compared

pytest.importorskip("onnxscript")
NAMES = ["squeezenet1_0", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "resnet18"]
TIMM = "timm:tf_efficientnet_lite0"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, TIMM])
def test_an_exported_network_answers_as_torch_does(name):
    if name == TIMM and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    found = compared(name)
    assert found.difference <= 1e-4
    assert found.changed == 0
