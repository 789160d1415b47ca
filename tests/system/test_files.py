"""Files that a crash leaves whole, locks, and folders that are used without being asked for."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.system import files


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    for variable, home in (
        ("IGNITE_VISION_RUNS", files.runs_home),
        ("IGNITE_VISION_DATA", files.data_home),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert home() == tmp_path / variable
    monkeypatch.delenv("IGNITE_VISION_RUNS")
    assert str(files.runs_home()) == "runs"


# Replacing


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with files.replacing(path, ".mark") as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.name == ".file.mark.tmp"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_when_writing_fails_the_old_file_stays_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_and_replaces_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_name_afterwards(monkeypatch, tmp_path):
    path, steps, fsync = tmp_path / "file", [], os.fsync

    def note(handle):
        steps.append((Path(f"/proc/self/fd/{handle}").readlink().name, path.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    files.write_atomically(path, "text")
    assert steps == [(".file.tmp", False), (tmp_path.name, True)]


def test_a_text_is_written_as_it_is_with_undecodable_names(tmp_path):
    path = tmp_path / "file"
    files.write_atomically(path, "a\r\nb \udcff\n")
    assert path.read_bytes() == b"a\r\nb \xff\n"


def test_where_results_cannot_be_written_is_known_before(tmp_path):
    files.expect_writable_folder(tmp_path / "new" / "deep", "Choose another.")
    (tmp_path / "new").write_text("in the way")
    with pytest.raises(UserError, match=r"the results cannot be written \(.*new\). Choose another."):
        files.expect_writable_folder(tmp_path / "new" / "deep", "Choose another.")


def test_what_could_not_be_kept_is_one_line_with_its_reason_and_exit_code_4(tmp_path):
    with pytest.raises(UserError, match=r"the page cannot be written: No such file .*Free some space") as caught:
        with files.keeping("the page", tmp_path):
            files.write_atomically(tmp_path / "none" / "page", "text")
    assert caught.value.code == NOT_SAVED


# Lines


def test_lines_are_read_back_without_one_that_was_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert files.read_lines(path) == []
    files.append_line(path, {"epoch": 1})
    files.append_line(path, {"epoch": 2})
    with path.open("a") as file:
        file.write('{"epoch": 3')
    assert files.read_lines(path) == [{"epoch": 1}, {"epoch": 2}]
    files.append_line(path, {"epoch": 4})
    assert files.read_lines(path) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 4}]


# Locks


def test_a_lock_is_held_by_one_process_until_it_ends(tmp_path):
    path = tmp_path / ".lock"
    program = "import sys\nfrom pathlib import Path\nfrom ignite_vision.system.files import lock_file\n"
    program += "file = Path(sys.argv[1]).open('a+')\nprint(lock_file(file), flush=True)\ninput()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "True\n"
    with path.open("a+") as file:
        assert not files.lock_file(file)
        other.communicate("\n")
        assert files.lock_file(file)


def test_a_lock_that_cannot_be_had_for_another_reason_is_not_one_that_is_held(tmp_path):
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as file, pytest.raises(OSError, match="Bad file descriptor"):
        files.lock_file(file)  # opened for reading: the system refuses, as NFS without its lock daemon does


# The home folder


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Return a function that makes a folder $HOME; the temporary folder is another."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("IGNITE_VISION_DATA")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    def make(folder):
        monkeypatch.setenv("HOME", str(folder))
        return tmp_path / "tmp" / f"ignite-vision-{os.getuid()}"

    return make


def test_caches_and_data_are_in_the_home_folder_if_it_can_be_used(home, tmp_path):
    home(tmp_path)
    assert files.cache_home() == tmp_path / ".cache" / "ignite-vision"
    assert files.data_home() == tmp_path / ".cache" / "ignite-vision" / "data"


def test_without_a_home_folder_they_are_in_a_folder_of_ones_own_among_the_temporary_ones(home):
    for folder in ("/dev/null", "/dev/null/home"):
        temporary = home(folder)
        assert files.cache_home() == temporary
        assert files.data_home() == temporary / "data"
    assert temporary.stat().st_mode & 0o777 == 0o700


def test_a_home_folder_that_may_not_be_read_is_none():
    program = """
import os, tempfile
from pathlib import Path
from ignite_vision.system import files
with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o777)
    os.mkdir(f"{folder}/home", 0o000)
    tempfile.tempdir, os.environ["HOME"] = folder, f"{folder}/home"
    os.environ.pop("XDG_CACHE_HOME", None)
    if root := os.getuid() == 0:
        os.setresuid(65534, 65534, 0)  # root may read everything
    assert files.cache_home() == Path(folder) / f"ignite-vision-{os.getuid()}"
    if root:
        os.setresuid(0, 0, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_temporary_folder_that_another_user_could_fill_is_refused(home, tmp_path):
    temporary = home("/dev/null")
    (tmp_path / "theirs").mkdir()
    temporary.symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        files.cache_home()


def test_a_carriage_return_in_a_cell_comes_back_in_its_row():
    rows = [["path", "class"], ["a\rb.jpg", "cat"], ["plain.jpg", 'a "dog"'], ["two\nlines", ""]]
    assert list(csv.reader(io.StringIO(files.csv_text(rows), newline=""))) == rows
    assert files.csv_text([["plain", 1]]) == "plain,1\n"
