"""One classifier, trained by the command on photographs, gives the same answer at every door that it has."""

import contextlib
import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

DOCS = Path(__file__).parents[2] / "docs"
NEEDED = ("onnxscript", "onnxruntime", "starlette", "uvicorn")


def command(*arguments: object) -> subprocess.CompletedProcess:
    """Run `ignite-vision ARGUMENTS`, which must do well."""
    words = [sys.executable, "-m", "ignite_vision", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done


def five_lines() -> str:
    """Return the Python lines of docs/export.md, for each photograph that stdin names: its class and a probability."""
    (code,) = re.findall(r"```python\n(import json, numpy.*?)```", (DOCS / "export.md").read_text(), re.S)
    opened, classes, *answer = code.splitlines()[1:]
    loop = "\n".join(f"    {line}" for line in answer).replace('"photo.jpg"', "name.strip()")
    return "\n".join([code.splitlines()[0], "import sys", opened, classes, "for name in sys.stdin:", loop])


@contextlib.contextmanager
def served(model: Path):
    """Serve a model within; the value is its address."""
    words = [sys.executable, "-m", "ignite_vision", "serve", str(model), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            said = ""
            while "Ctrl-C" not in said:
                said += process.stderr.readline()
            yield re.search(r"http://\S+:\d+", said)[0]
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_folder_of_photographs_becomes_a_classifier_that_answers_alike_at_every_door(test_data, tmp_path):
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    weights, run = test_data / "weights" / "mobilenet_v2.pth", tmp_path / "run"
    categories = test_data / "caltech256" / "256_ObjectCategories"
    settings = ("--set", "model=mobilenet_v2", "--set", f"weights={weights}")
    done = command("run", "caltech256", "--data", categories, "--out", run, *settings)
    assert float(re.search(r"test accuracy (0\.\d+)", done.stdout)[1]) >= 0.92
    assert "RGB 224x224, short side resized to 256 (bilinear), mean 0.485 0.456 0.406, std 0.229" in done.stderr
    with (run / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    paths = [str(categories / row["path"]) for row in rows]
    expected = [(row["predicted"], row["probability"]) for row in rows]
    (tmp_path / "list").write_text("\n".join(paths))

    # from the bundle alone: every printed digit
    bundle = tmp_path / "elsewhere.safetensors"
    os.link(run / "model.safetensors", bundle)
    told = command("predict", bundle, *paths, "--format", "jsonl", "--abstain-below", "0", "--top", "1")
    answers = [json.loads(line)["top"][0] for line in told.stdout.splitlines()]
    assert [(one["class"], f"{one['probability']:.6f}") for one in answers] == expected

    # an exported file, with onnxruntime, numpy and Pillow alone
    command("export", run, "--out", tmp_path / "model.onnx")
    code = five_lines() + "\nassert 'torch' not in sys.modules and 'ignite_vision' not in sys.modules\n"
    with (tmp_path / "list").open() as names:
        alone = subprocess.run([sys.executable, "-c", code], stdin=names, capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    lines = [line.rsplit(" ", 1) for line in alone.stdout.splitlines()]
    assert [name for name, _ in lines] == [name for name, _ in expected]
    assert [float(p) for _, p in lines] == pytest.approx([float(p) for _, p in expected], abs=0.01)  # bf16 and fp32

    # a web page's interface
    with served(run / "model.safetensors") as address:
        for path, (name, probability) in zip(paths, expected, strict=True):
            request = urllib.request.Request(f"{address}/predict?top=1", data=Path(path).read_bytes(), method="POST")
            (top,) = json.load(urllib.request.urlopen(request, timeout=60))["top"]
            assert top["class"] == name
            assert top["probability"] == pytest.approx(float(probability), abs=0.001)
