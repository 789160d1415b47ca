"""A wheel, tried from another folder, is the whole program."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def run(*arguments, **options):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.mark.slow
def test_a_wheel_has_the_recipes_and_trains_from_another_folder(tmp_path):
    source = tmp_path / "source"
    left_out = shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left_out)
    built = run("-m", "pip", "wheel", source, "--no-deps", "--quiet", "-w", tmp_path / "wheel")
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob("ignite_vision-*.whl")
    site = tmp_path / "site"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel, check=True)
    environ = {**os.environ, "PYTHONPATH": str(site)}
    listed = run("-m", "ignite_vision", "list", cwd=tmp_path, env=environ)
    assert len(listed.stdout.splitlines()) == 7
    shown = run("-m", "ignite_vision", "show", "digits", cwd=tmp_path, env=environ)
    assert str(site) in shown.stdout.splitlines()[-1]
    trained = run("-m", "ignite_vision", "run", "digits", "--epochs", 1, cwd=tmp_path, env=environ)
    assert trained.returncode == 0, trained.stderr
    assert all((site / "ignite_vision" / "report" / f"page.{kind}").exists() for kind in ("html", "css", "js"))
    assert (site / "ignite_vision" / "report" / "curves.svg").exists()
    assert not (site / "recipes").exists()


def setup_cfg():
    """What setup.cfg says, by section."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup


def test_every_folder_of_the_package_is_installed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "ignite_vision").rglob("*.py")}
    listed = set(setup_cfg()["options"]["packages"].split())
    assert listed == {".".join(folder.parts) for folder in folders} | {"ignite_vision.recipes"}


def test_every_file_that_is_not_python_is_installed():
    data = setup_cfg()["options.package_data"]
    suffixes = {".py", ".pyc"}
    for path in (ROOT / "ignite_vision").rglob("*"):
        if path.is_file() and path.suffix not in suffixes:
            patterns = data.get(".".join(path.parent.relative_to(ROOT).parts), "").split()
            assert any(path.match(pattern) for pattern in patterns), path


def test_the_version_of_the_package_has_its_section_in_the_changelog():
    from ignite_vision import __version__

    assert (ROOT / "CHANGELOG.md").read_text().splitlines()[2].startswith(f"## {__version__}")


def test_the_images_lock_has_all_that_setup_cfg_wants():
    setup = setup_cfg()
    extras = setup["options.extras_require"]
    wanted = setup["options"]["install_requires"] + extras["tensorboard"] + extras["serve"]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.M))
    for line in wanted.split("\n"):
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            version = locked.get(requirement.name.lower(), "missing")
            assert version != "missing" and version in requirement.specifier, f"{line}: requirements.lock has {version}"
