"""What counts as a class and as an image; and what is said about folders that are laid out otherwise."""

import os
import socket

import pytest
from PIL import Image

from ignite_vision.data.folders import images_below
from ignite_vision.datasets import image_folder, is_class_folders
from ignite_vision.errors import UserError
from tests.helpers.pictures import deep_folder

posix_only = pytest.mark.skipif(os.name == "nt", reason="needs POSIX file types")


def write(root, *names):
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(path, format="PNG")
    return root


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


def refused(root):
    with pytest.raises(UserError) as raised:
        image_folder(root)
    assert "\n" not in str(raised.value) and raised.value.code == 2
    return str(raised.value)


# classes and images


def test_plain_class_folders_are_one_pool_in_sorted_order(tmp_path):
    splits = image_folder(write(tmp_path, "dog/b.png", "cat/2.png", "cat/10.png", "Ape/a.png"))
    assert splits.classes == ("Ape", "cat", "dog")
    assert ids(splits.train) == ["Ape/a.png", "cat/10.png", "cat/2.png", "dog/b.png"]
    assert splits.train.targets.tolist() == [0, 1, 1, 2]
    assert splits.val is None and splits.test is None
    assert splits.train[0][0].shape == (3, 3, 4)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("training", "validation", "testing"), ("Train", "valid", "TEST")]
)
def test_given_splits_are_kept_and_classes_matched_by_name(tmp_path, names):
    train, val, test = names
    write(
        tmp_path,
        f"{train}/cat/1.png",
        f"{train}/dog/1.png",
        f"{train}/owl/1.png",
        f"{val}/dog/1.png",
        f"{test}/owl/1.png",
    )
    splits = image_folder(tmp_path)
    assert splits.classes == ("cat", "dog", "owl")
    assert splits.val.targets.tolist() == [1] and splits.test.targets.tolist() == [2]
    assert ids(splits.train) + ids(splits.test) == [f"{train}/{c}/1.png" for c in splits.classes] + [
        f"{test}/owl/1.png"
    ]


def test_train_alone_leaves_the_others_to_be_cut(tmp_path):
    splits = image_folder(write(tmp_path, "train/cat/1.png", "train/dog/1.png"))
    assert len(splits.train) == 2 and splits.val is None and splits.test is None


def test_a_class_may_be_called_train(tmp_path):
    assert image_folder(write(tmp_path, "train/1.png", "bus/1.png")).classes == ("bus", "train")


def test_hidden_names_and_stray_files_are_no_classes(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png", ".ipynb_checkpoints/1.png", "__MACOSX/cat/1.png", "stray.png")
    write(tmp_path, "cat/._1.png", "cat/.ipynb_checkpoints/1.png", "dog/Thumbs.db", "dog/notes.txt")
    splits = image_folder(tmp_path)
    assert splits.classes == ("cat", "dog") and ids(splits.train) == ["cat/1.png", "dog/1.png"]


def test_extensions_count_whatever_their_case_and_images_may_lie_deeper(tmp_path):
    splits = image_folder(write(tmp_path, "cat/a/b/1.JPG", "cat/2.Png", "dog/1.jpeg"))
    assert ids(splits.train) == ["cat/2.Png", "cat/a/b/1.JPG", "dog/1.jpeg"]


@posix_only
def test_only_regular_files_are_images(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "cat" / "linked.png").symlink_to("1.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "cat" / "s.png"))  # a socket's path has at most 108 bytes
    assert ids(image_folder(tmp_path).train) == ["cat/1.png", "cat/linked.png", "dog/1.png"]


@posix_only
def test_links_that_loop_give_each_image_once(tmp_path):
    write(tmp_path / "data", "cat/1.png", "dog/1.png")
    (tmp_path / "data" / "all").symlink_to("..")
    (tmp_path / "data" / "self").symlink_to(".")
    (tmp_path / "data" / "cat" / "up").symlink_to("..")
    splits = image_folder(tmp_path / "data")
    assert splits.classes == ("cat", "dog") and len(splits.train) == 2


@posix_only
def test_a_class_may_be_a_link_to_a_folder_elsewhere(tmp_path):
    write(tmp_path, "elsewhere/1.png", "data/cat/1.png")
    (tmp_path / "data" / "dog").symlink_to("../elsewhere")
    assert ids(image_folder(tmp_path / "data").train) == ["cat/1.png", "dog/1.png"]


@posix_only
def test_class_names_with_undecodable_bytes_survive(tmp_path):
    splits = image_folder(write(tmp_path, b"caf\xe9/1.png", "\u00fcber/1.png"))
    assert [os.fsencode(name) for name in splits.classes] == [b"caf\xe9", "\u00fcber".encode()]
    assert splits.train[0][0].shape == (3, 3, 4)


def test_a_relative_folder_gives_the_same_names(tmp_path, monkeypatch):
    write(tmp_path, "cat/1.png", "dog/1.png")
    monkeypatch.chdir(tmp_path)
    assert ids(image_folder(".").train) == ids(image_folder(tmp_path).train) == ["cat/1.png", "dog/1.png"]


# refusals


def test_what_is_no_folder_is_refused(tmp_path):
    write(tmp_path, "a.png")
    assert refused(tmp_path / "a.png").startswith("not a folder")
    assert refused(tmp_path / "gone").startswith("no such folder")


def test_a_flat_folder_of_images_says_how_many_and_what_to_do(tmp_path):
    message = refused(write(tmp_path, "1.png", "2.jpg"))
    assert message.startswith("no class folders, 2 images are directly in it")
    assert f"{tmp_path}/CLASS/image.jpg" in message


def test_an_empty_folder_says_so(tmp_path):
    assert refused(tmp_path).startswith("no class folders and no images")


def test_one_class_is_refused(tmp_path):
    assert refused(write(tmp_path, "cat/1.png")).startswith("only one class folder, 'cat'")


def test_a_folder_too_high_says_where_to_look(tmp_path):
    assert f"Try --data {tmp_path / 'data'}" in refused(write(tmp_path, "data/cat/1.png", "data/dog/1.png"))


def test_empty_classes_are_named(tmp_path):
    write(tmp_path, "cat/1.png")
    (tmp_path / "dog").mkdir()
    assert refused(tmp_path).startswith("no images in class folder 'dog' (")
    (tmp_path / "owl").mkdir()
    assert refused(tmp_path).startswith("no images in class folder 'dog' (and in 1 more)")


def test_class_folders_without_any_image_say_what_an_image_is(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "1.txt").write_text("")
    message = refused(tmp_path)
    assert message.startswith("no images in any class folder") and ".jpg" in message


def test_a_class_that_train_lacks_is_refused(tmp_path):
    message = refused(write(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/owl/1.png"))
    assert message.startswith("class 'owl' is not in train") and str(tmp_path / "test") in message


def test_a_class_that_only_test_lacks_is_no_error(tmp_path):
    splits = image_folder(write(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png"))
    assert len(splits.test) == 1


def test_a_test_folder_without_class_folders_is_refused(tmp_path):
    message = refused(write(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png"))
    assert message.startswith("no images in any class folder") and f"{tmp_path}/test/CLASS/image.jpg" in message


def test_train_and_test_are_not_taken_for_two_classes(tmp_path):
    assert refused(write(tmp_path, "train/1.png", "test/1.png")).startswith("no class folders in test, train")


def test_two_folders_for_validation_are_refused(tmp_path):
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "valid/cat/1.png")
    assert refused(tmp_path).startswith("both 'val' and 'valid'")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog").chmod(0)
    message = refused(tmp_path)
    (tmp_path / "dog").chmod(0o700)
    assert message.startswith("cannot read the folder: Permission denied") and "dog" in message


def write_run(folder, *files):
    for name in files or ("run.json", ".lock", "splits.csv"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    write(folder, "heat_maps/cat.png")


@pytest.mark.parametrize(
    "files", [("run.json", ".lock"), ("run.json", "splits.csv"), ("run.json", "splits.csv", ".lock")]
)
def test_runs_among_the_photographs_are_no_class(tmp_path, files):
    write(tmp_path, "cat/1.png", "dog/1.png")
    write_run(tmp_path / "runs" / "folder-3fa9c1", *files)
    (tmp_path / "runs" / ".hidden").write_text("")
    (tmp_path / "runs" / "notes.txt").write_text("")
    splits = image_folder(tmp_path)
    assert splits.classes == ("cat", "dog") and len(splits.train) == 2 and splits.notes == ()
    assert is_class_folders(tmp_path)


def test_a_run_that_was_killed_as_it_began_is_no_class(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "runs" / "folder-3fa9c1").mkdir(parents=True)
    (tmp_path / "runs" / "folder-3fa9c1" / ".lock").write_text("")
    assert image_folder(tmp_path).classes == ("cat", "dog")


def test_a_run_directory_is_passed_over_at_any_depth(tmp_path):
    write(tmp_path, "cat/1.png", "dog/more/1.png")
    write_run(tmp_path / "cat" / "runs" / "a-123456")
    write_run(tmp_path / "dog" / "more" / "b-123456")
    write_run(tmp_path / "c-123456")
    assert ids(image_folder(tmp_path).train) == ["cat/1.png", "dog/more/1.png"]
    (tmp_path / "train").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / name).rename(tmp_path / "train" / name)
    write(tmp_path, "test/cat/1.png")
    write_run(tmp_path / "test" / "d-123456")
    splits = image_folder(tmp_path)
    assert splits.classes == ("cat", "dog") and len(splits.test) == 1 and splits.notes == ()


def test_a_folder_of_nothing_but_runs_has_no_classes(tmp_path):
    write_run(tmp_path / "runs" / "a-123456")
    assert not is_class_folders(tmp_path) and refused(tmp_path).startswith("no class folders and no images")


def test_a_class_called_runs_with_images_of_its_own_stays_a_class(tmp_path):
    write(tmp_path, "runs/1.png", "walks/1.png")
    write_run(tmp_path / "runs" / "a-123456")
    assert ids(image_folder(tmp_path).train) == ["runs/1.png", "walks/1.png"]


def only_note(root):
    (note,) = image_folder(root).notes
    return note


def test_ordinary_folders_have_no_notes(tmp_path):
    assert image_folder(write(tmp_path / "a", "cat/1.png", "dog/1.png")).notes == ()
    write(tmp_path / "b", "training/cat/1.png", "training/dog/1.png", "valid/cat/1.png", "test/dog/1.png")
    (tmp_path / "b" / "labels").mkdir()
    assert image_folder(tmp_path / "b").notes == ()


def test_images_of_formats_that_are_not_read_are_counted(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png", "cat/2.HEIC", "cat/deeper/3.heic", "dog/4.avif", "dog/5.jxl")
    assert only_note(tmp_path).startswith("images of formats that are not read: 1 .avif, 2 .heic, 1 .jxl. Convert")


@posix_only
def test_links_that_lead_nowhere_are_passed_over_and_said(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "cat" / "self.png").symlink_to("self.png")
    (tmp_path / "dog" / "gone.png").symlink_to("nowhere")
    splits = image_folder(tmp_path)
    assert splits.classes == ("cat", "dog") and len(splits.train) == 2
    assert splits.notes == (f"links that cannot be followed: 3, the first '{tmp_path}/cat/self.png'",)
    assert is_class_folders(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o600, 0o300])
def test_links_into_folders_without_permission_are_passed_over_and_said(tmp_path, mode):
    write(tmp_path, "data/cat/1.png", "data/dog/1.png", "secret/owl/1.png")
    (tmp_path / "data" / "owl").symlink_to("../secret/owl")
    (tmp_path / "data" / "cat" / "2.png").symlink_to("../../secret/owl/1.png")
    (tmp_path / "data" / "all").symlink_to("../secret")
    (tmp_path / "secret").chmod(mode)
    try:
        splits = image_folder(tmp_path / "data")
    finally:
        (tmp_path / "secret").chmod(0o700)
    assert {"cat", "dog"} <= set(splits.classes) and "all" not in splits.classes
    assert splits.notes[0].startswith("links that cannot be followed: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_below_one_that_may_not_be_read_is_no_traceback(tmp_path):
    write(tmp_path, "home/photos/cat/1.png")
    (tmp_path / "home").chmod(0)
    try:
        assert not is_class_folders(tmp_path / "home" / "photos")
        assert refused(tmp_path / "home" / "photos").startswith("cannot read the folder: Permission denied")
    finally:
        (tmp_path / "home").chmod(0o700)


@pytest.mark.parametrize("beside", [("bus/1.png",), ("dev/cat/1.png", "holdout/9.png")])
def test_what_lies_beside_the_splits_and_is_not_read_is_said(tmp_path, beside):
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", *beside)
    names = ", ".join(f"'{name.split('/')[0]}'" for name in beside)
    assert only_note(tmp_path).startswith(f"not read, since they lie beside 'train': {names}. A split is called train,")


def test_of_many_folders_that_are_not_read_three_are_named(tmp_path):
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", *(f"{name}/1.png" for name in "abcde"))
    assert "'a', 'b', 'c' and 2 more" in only_note(tmp_path)


def test_a_split_in_other_letters_is_said(tmp_path):
    write(tmp_path, "Train/cat/1.png", "Train/dog/1.png", "test/cat/1.png")
    assert only_note(tmp_path) == "'Train' is read as the split train"


def test_train_in_two_spellings_is_refused(tmp_path):
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", "Train/cat/2.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("the file system does not know lower case from upper case")
    assert refused(tmp_path).startswith("both 'Train' and 'train'")


@posix_only
def test_a_test_split_that_is_a_link_to_another_split_is_said(tmp_path):
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png")
    (tmp_path / "test").symlink_to("val")
    assert only_note(tmp_path) == "'val' and 'test' are the same folder: these splits hold the same images"


# a level too high


def test_domains_that_hold_the_same_classes_are_asked_about(tmp_path):
    write(tmp_path, *(f"{domain}/{name}/1.png" for domain in ("amazon", "dslr", "webcam") for name in ("bike", "mug")))
    message = refused(tmp_path)
    assert message.startswith("each of 'amazon', 'dslr', 'webcam' holds the same folders: 'bike', 'mug'")
    assert f"use --data {tmp_path}/amazon." in message
    (tmp_path / ".classes").write_text("")
    assert image_folder(tmp_path).classes == ("amazon", "dslr", "webcam")


def test_splits_inside_of_each_class_are_asked_about(tmp_path):
    write(tmp_path, *(f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("train", "test")))
    assert f"use {tmp_path}/train/CLASS/image.jpg" in refused(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("cat/a/1.png", "cat/b/1.png", "dog/a/1.png"),
        ("cat/images/1.png", "dog/images/1.png"),
        ("cat/a/1.png", "cat/b/1.png", "cat/1.png", "dog/a/1.png", "dog/b/1.png"),
    ],
    ids=["other folders", "one folder each", "images beside"],
)
def test_folders_within_classes_are_no_reason_to_ask_otherwise(tmp_path, names):
    assert image_folder(write(tmp_path, *names)).classes == ("cat", "dog")


# is_class_folders


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.png"], True),
        (["train/cat/1.png"], True),
        (["1.png"], False),
        ([".hidden/1.png"], False),
        (["Images/n02085620-Chihuahua/1.png", "lists/train_list.mat"], False),
        (["cat/notes.txt"], False),
        ([], False),
    ],
)
def test_class_folders_are_recognised(tmp_path, names, expected):
    assert is_class_folders(write(tmp_path, *names)) is expected


def test_a_missing_folder_is_no_class_folders(tmp_path):
    assert not is_class_folders(tmp_path / "gone")


# images of any folder


def test_images_below_a_folder_come_in_bytewise_order_of_their_paths(tmp_path):
    names = ("b/2.jpg", "b/1.jpg", "b.jpg", "b-c/4.jpg", "b/deep/3.png", "B.jpg")
    write(tmp_path, *names, "b/.hidden/5.jpg", ".6.jpg", "__MACOSX/7.jpg")
    (tmp_path / "notes.txt").touch()
    assert [str(path.relative_to(tmp_path)) for path in images_below(tmp_path)] == sorted(names)


def test_run_directories_and_links_to_folders_below_a_folder_are_passed_over(tmp_path):
    write(tmp_path, "a/1.jpg", "run/tensorboard.png")
    for name in ("run.json", ".lock"):
        (tmp_path / "run" / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert list(images_below(tmp_path)) == [tmp_path / "a" / "1.jpg"]


def test_a_folder_that_goes_away_is_an_error_and_the_walk_goes_on(tmp_path):
    write(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    found = images_below(tmp_path)
    assert next(found) == tmp_path / "a" / "1.jpg"
    (tmp_path / "b" / "2.jpg").unlink()
    (tmp_path / "b").rmdir()
    error, last = found
    assert isinstance(error, UserError) and "cannot read the folder" in error.what
    assert last == tmp_path / "c" / "3.jpg"


def test_images_may_lie_deeper_than_python_calls(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    with deep_folder(tmp_path / "b" / "d"):
        assert len(image_folder(tmp_path).train) == 3
