"""What the documentation shows is run as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


@pytest.fixture
def recipe_of_the_docs(tmp_path):
    path = tmp_path / "stripes.py"
    path.write_text(python_blocks("docs/recipes.md")[0])
    return path


SPAWN = "import multiprocessing as m; m.set_start_method('{method}'); from ignite_vision.cli import main; main()"


METHODS = ["fork", pytest.param("spawn", marks=pytest.mark.slow)]


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_of_ones_own_trains_with_workers_however_they_start(recipe_of_the_docs, tmp_path, method):
    code = f"if __name__ == '__main__':\n  {SPAWN.format(method=method)}"
    main = tmp_path / "main.py"
    main.write_text(code)
    arguments = ["run", str(recipe_of_the_docs), "--out", str(tmp_path / "run"), "--workers", "2", "--epochs", "3"]
    done = subprocess.run([sys.executable, str(main), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "of the validation images are right" in done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["n"] == 50


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
def test_its_bits_do_not_depend_on_the_workers(recipe_of_the_docs, tmp_path):
    from ignite_vision.jobs import train_and_evaluate
    from ignite_vision.prepare import Options, prepare
    from ignite_vision.recipe_files import load

    models = []
    for workers in (0, 2, 3):
        options = Options(out=tmp_path / f"w{workers}", workers=workers)
        prepared = prepare(load(str(recipe_of_the_docs)), {"epochs": "2"}, options, lambda line: None)
        train_and_evaluate(prepared, lambda plan: None)
        models.append(prepared.directory.model.read_bytes())
    assert models[0] == models[1] == models[2]


def test_every_link_between_the_pages_leads_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
