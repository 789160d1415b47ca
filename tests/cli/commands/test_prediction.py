"""`predict`: on files, folders, patterns and lists, in every format, whatever is broken."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ignite_vision import Classifier
from ignite_vision.cli.commands.prediction import form_for
from tests.helpers.command_line import assert_one_error_line


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished run on three classes of photographs, `run`, and these, `photos`: read only."""
    from tests.conftest import image_folder

    root = tmp_path_factory.mktemp("place")
    image_folder.__wrapped__(root)
    done = command("run", root / "photos", *SETTINGS, "--epochs", "1", "--out", root / "run")
    assert done.returncode == 0, done.stderr
    return root


SETTINGS = ("--set", "model=digits_cnn", "--set", "weights=none", "--set", "trainable=all")


def command(*arguments, **options):
    """Run the command in a fresh process. stdout is bytes where input is."""
    words = [sys.executable, "-m", "ignite_vision", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, timeout=300, **{"text": True, **options})


def records(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_bundle_alone_says_what_predictions_csv_says_in_every_printed_digit(ignite_vision, place, tmp_path):
    shutil.copyfile(place / "run" / "model.safetensors", tmp_path / "m.safetensors")
    expected = records((place / "run" / "predictions.csv").read_text())
    paths = [place / "photos" / row["path"] for row in expected]
    code, out, err = ignite_vision("predict", tmp_path / "m.safetensors", *paths, "--abstain-below", 0)
    assert code == 0, err
    assert [(row["predicted"], row["probability"]) for row in records(out)] == [
        (row["predicted"], row["probability"]) for row in expected
    ]
    assert [row["path"] for row in records(out)] == list(map(str, paths))
    assert ignite_vision("predict", place / "run", *paths, "--abstain-below", 0)[1] == out


def test_what_answers_is_said_on_stderr(ignite_vision, place):
    _, _, err = ignite_vision("predict", place / "run", place / "photos", "--precision", "fp32", "--abstain-below", 0.4)
    (line,) = err.splitlines()
    assert line.startswith("model      ignite_vision:digits_cnn, 3 classes, fp32 on cpu")
    assert line.endswith("not calibrated, unknown below 0.4")


def test_folders_patterns_and_files_go_together_in_the_order_given(ignite_vision, place, monkeypatch):
    monkeypatch.chdir(place / "photos")
    _, out, _ = ignite_vision("predict", place / "run", "cherry", "apple/0[01].jpg", "banana/05.jpg")
    paths = [row["path"] for row in records(out)]
    assert paths == [*(f"cherry/{i:02}.jpg" for i in range(12)), "apple/00.jpg", "apple/01.jpg", "banana/05.jpg"]


def test_below_the_threshold_the_answer_is_unknown(ignite_vision, place):
    _, out, _ = ignite_vision("predict", place / "run", place / "photos" / "apple", "--abstain-below", 1)
    assert {row["answer"] for row in records(out)} == {"unknown"}
    assert {row["predicted"] for row in records(out)} <= {"apple", "banana", "cherry"}


def test_the_models_own_threshold_is_the_default(ignite_vision, place, tmp_path):
    from safetensors.torch import load_file

    from ignite_vision.models.model_file import read_header, write_model

    model = place / "run" / "model.safetensors"
    header = {**read_header(model), "abstain_below": 0.999}
    write_model(tmp_path / "m.safetensors", load_file(model), header)
    _, out, err = ignite_vision("predict", tmp_path / "m.safetensors", place / "photos" / "apple")
    assert "unknown below 0.999" in err
    assert {row["answer"] for row in records(out)} == {"unknown"}
    _, out, err = ignite_vision("predict", tmp_path / "m.safetensors", place / "photos" / "apple", "--abstain-below", 0)
    assert "unknown" not in out + err


def test_every_format_says_the_same(ignite_vision, place):
    texts = {
        form: ignite_vision("predict", place / "run", place / "photos" / "apple", "--format", form, "--top", 2)[1]
        for form in ("table", "csv", "json", "jsonl")
    }
    rows = json.loads(texts["json"])
    assert rows == [json.loads(line) for line in texts["jsonl"].splitlines()]
    assert [(row["predicted"], float(row["probability_2"])) for row in records(texts["csv"])] == [
        (row["top"][0]["class"], row["top"][1]["probability"]) for row in rows
    ]
    assert [line.split()[0] for line in texts["table"].splitlines()] == [row["answer"] for row in rows]


def test_the_format_is_that_of_the_file_or_of_where_stdout_leads(monkeypatch):
    assert [form_for(Path(name)) for name in ("a.json", "a.JSONL", "a.csv", "a.txt", "a")] == [
        *("json", "jsonl", "csv", "csv", "csv")
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert form_for(None) == "table"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert form_for(None) == "csv"


class TestBrokenImages:
    def test_have_a_row_with_the_error_and_the_exit_code_2(self, ignite_vision, place, tmp_path):
        good = shutil.copyfile(place / "photos" / "apple" / "00.jpg", tmp_path / "3.jpg")
        (tmp_path / "2.jpg").write_bytes(good.read_bytes()[:-40])
        code, out, err = ignite_vision("predict", place / "run", tmp_path, tmp_path / "gone.jpg", good)
        assert code == 2
        assert [(Path(row["path"]).name, row["error"], row["answer"] != "") for row in records(out)] == [
            ("2.jpg", "cannot read image: the file is cut off", False),
            ("3.jpg", "", True),
            ("gone.jpg", "cannot read image: No such file or directory", False),
            ("3.jpg", "", True),
        ]
        assert err.splitlines()[-1] == "error: 2 of 4 images cannot be read. Their rows say why."

    def test_and_names_that_hurt_are_safe_in_every_format(self, ignite_vision, place, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        shutil.copyfile(place / "photos" / "apple" / "00.jpg", folder / os.fsdecode(b'a,"b"\n\xff\x1b[2J=.jpg'))
        (folder / os.fsdecode(b"broken\n\xfe.jpg")).write_text("")
        paths = sorted(map(str, folder.iterdir()), key=os.fsencode)
        texts = {}
        for form in ("csv", "json", "jsonl", "table"):
            words = ("predict", place / "run", folder, "--format", form, "--out", tmp_path / form)
            assert ignite_vision(*words)[0] == 2
            texts[form] = (tmp_path / form).read_bytes().decode("utf-8", "surrogateescape")
        lines = texts["jsonl"].splitlines()
        for rows in (records(texts["csv"]), json.loads(texts["json"]), list(map(json.loads, lines))):
            assert [row["path"] for row in rows] == paths
        lines = texts["table"].split("\n")
        assert len(lines) == 3 and all(line.isprintable() for line in lines)

    def test_and_csv_on_stdout_has_the_bytes_of_the_names(self, place, tmp_path):
        (tmp_path / os.fsdecode(b"\xfe.jpg")).write_text("")
        done = command("predict", place / "run", tmp_path, text=False)
        assert done.returncode == 2
        assert b"/\xfe.jpg," in done.stdout.splitlines()[1]


class TestBadInput:
    def test_nothing_found_writes_nothing(self, ignite_vision, place, tmp_path):
        (tmp_path / "empty").mkdir()
        for out in ((), ("--out", tmp_path / "x.csv")):
            result = ignite_vision("predict", place / "run", tmp_path / "empty", *out)
            assert_one_error_line(result, "no images found", "empty", "Pass images, folders with images, or -")
        assert not (tmp_path / "x.csv").exists()

    def test_no_paths(self, ignite_vision, place):
        assert_one_error_line(ignite_vision("predict", place / "run"), "missing argument 'PATH...'")

    def test_no_model(self, ignite_vision, tmp_path):
        assert_one_error_line(ignite_vision("predict", tmp_path / "gone", "x.jpg"), "no such file", "gone")
        assert_one_error_line(ignite_vision("predict", tmp_path, "x.jpg"), "no model.safetensors in this folder")

    def test_a_damaged_onnx_file(self, ignite_vision, tmp_path):
        (tmp_path / "m.onnx").write_bytes(bytes(range(200)))
        result = ignite_vision("predict", tmp_path / "m.onnx", "x.jpg")
        assert_one_error_line(result, "cannot read the model", "m.onnx", code=3)

    def test_a_precision_a_device_a_file_that_cannot_be(self, ignite_vision, place, tmp_path):
        words = ("predict", place / "run", place / "photos")
        assert_one_error_line(ignite_vision(*words, "--precision", "fp8"), "no precision 'fp8'", "fp32, bf16, fp16")
        assert_one_error_line(ignite_vision(*words, "--precision", "fp16"), "fp16 needs a CUDA device")
        assert_one_error_line(ignite_vision(*words, "--device", "gpu"), "no device 'gpu'")
        assert_one_error_line(ignite_vision(*words, "--abstain-below", "95"), "'--abstain-below'")
        assert_one_error_line(ignite_vision(*words, "--abstain-below", "nan"), "'nan' is not in the range")
        assert_one_error_line(ignite_vision(*words, "--out", "/proc/x.csv"), "cannot write: ", "/proc/x.csv")
        assert_one_error_line(ignite_vision(*words, "--heatmap", "/proc/x"), "cannot write: ", "/proc/x")
        photo = next((place / "photos" / "apple").iterdir())
        assert_one_error_line(ignite_vision(*words, "--heatmap", photo), "cannot write: File exists")
        assert_one_error_line(ignite_vision(*words, "--out", tmp_path), "--out is a folder")
        assert_one_error_line(ignite_vision(*words, "--out", tmp_path / "no" / "x"), "the folder of --out is not there")

    def test_what_is_read_is_never_replaced(self, ignite_vision, place, tmp_path):
        model, photo = tmp_path / "m.safetensors", tmp_path / "1.jpg"
        shutil.copy(place / "run" / "model.safetensors", model)
        shutil.copy(next((place / "photos" / "apple").iterdir()), photo)
        before = model.read_bytes(), photo.read_bytes()
        result = ignite_vision("predict", model, photo, "--out", model)
        assert_one_error_line(result, "--out would replace what is read", str(model))
        for paths in ((photo,), (tmp_path,)):
            result = ignite_vision("predict", model, *paths, "--out", photo)
            assert_one_error_line(result, "--out is called like an image", str(photo))
        assert (model.read_bytes(), photo.read_bytes()) == before


def test_heat_maps_are_drawn_beside_the_answers(ignite_vision, place, tmp_path):
    (tmp_path / "broken.jpg").write_text("")
    photo = place / "photos" / "apple" / "03.jpg"
    words = ("predict", place / "run", photo, tmp_path / "broken.jpg", photo)
    code, out, err = ignite_vision(*words, "--heatmap", tmp_path / "heat")
    assert code == 2, err
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["0001-03.png", "0003-03.png"]
    assert ignite_vision(*words)[1] == out


def test_out_replaces_the_file_in_one_step_and_says_nothing_on_stdout(ignite_vision, place, tmp_path):
    target = tmp_path / "answers.jsonl"
    target.write_text("before")
    code, out, err = ignite_vision("predict", place / "run", place / "photos" / "apple", "--out", target)
    assert (code, out) == (0, ""), err
    assert len([json.loads(line) for line in target.read_text().splitlines()]) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


def started(*arguments, **options):
    words = [sys.executable, "-m", "ignite_vision", *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, **{**pipes, **options})


def test_a_list_on_stdin_is_answered_as_it_comes(place):
    """The first answer is there while the list is still open."""
    process = started("predict", place / "run", "-", "--format", "jsonl")
    for i in range(2):
        process.stdin.write(f"{place}/photos/apple/{i:02}.jpg\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["path"].endswith(f"{i:02}.jpg")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, b""), err


def test_a_reader_that_goes_away_ends_it_quietly(place):
    """`| head`: of a list without an end."""
    process = started("predict", place / "run", "-")
    line = f"{place}/photos/apple/00.jpg\n".encode()
    try:
        process.stdin.write(line * 200)
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"path,")
        process.stdout.close()
        for _ in range(100_000):
            process.stdin.write(line * 200)
    except BrokenPipeError:
        pass
    assert process.wait(120) == 0
    assert len(process.stderr.read().splitlines()) == 1  # what answers
    for pipe in (process.stdin, process.stderr):
        try:
            pipe.close()
        except BrokenPipeError:
            pass


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 75, marks=pytest.mark.slow)]
)
def test_ctrl_c_leaves_the_file_as_it_was(place, tmp_path, number, code):
    target = tmp_path / "answers.csv"
    target.write_text("before")
    process = started("predict", place / "run", "-", "--out", target)
    process.stdin.write(f"{place}/photos/apple/00.jpg\n".encode())
    process.stdin.flush()
    temporary, deadline = tmp_path / ".answers.csv.tmp", time.monotonic() + 120
    while not temporary.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert b"stopped by" in err and err.strip().endswith(f"{target} is as it was.".encode())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"answers.csv": "before"}


@pytest.mark.slow
def test_a_full_disk_is_one_line(place):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ignite_vision", "predict", str(place / "run"), str(place / "photos")],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
        )
    assert done.returncode == 4
    last = done.stderr.splitlines()[-1]
    assert last == b"error: cannot write to stdout: No space left on device. Free some space and repeat the command."


def test_the_command_and_python_say_the_same(ignite_vision, place):
    paths = sorted((place / "photos" / "apple").iterdir())
    classifier = Classifier.load(place / "run")
    _, out, _ = ignite_vision("predict", place / "run", *paths)
    assert [row["probability"] for row in records(out)] == [
        f"{answer.probabilities.max():.6f}" for answer in classifier.predict(paths)
    ]


def test_a_pipe_is_written_and_the_file_behind_a_link_is_replaced(ignite_vision, place, tmp_path):
    words = ("predict", place / "run", place / "photos" / "apple", "--out")
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        assert ignite_vision(*words, tmp_path / "pipe")[0] == 0
        assert len(records(reader.communicate(timeout=60)[0].decode())) == 12
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    (tmp_path / "target.csv").touch()
    assert ignite_vision(*words, tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert len((tmp_path / "target.csv").read_text().splitlines()) == 13
