"""A run's images: which folder they are in, and that its splits are never cut again."""

import pytest
import torch

from ignite_vision import Recipe, Splits, datasets
from ignite_vision.data.containers import ArrayImages
from ignite_vision.errors import UserError
from ignite_vision.recipe_files import load
from ignite_vision.run_data import data_folder, load_all, load_data, own_splits, recorded_folder
from ignite_vision.run_directory import RunDirectory
from tests.helpers.runs import assert_same_results, begun, interrupted, said, train

PHOTOS = {"data_function": datasets.image_folder, "model": "cifar10_cnn"}


class TestFolder:
    def test_the_commands_word_is_first_and_becomes_absolute(self, image_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        loaded = load(str(image_folder))
        chosen = data_folder(loaded, loaded.recipe, image_folder.relative_to(tmp_path), None)
        assert chosen == image_folder
        assert data_folder(loaded, loaded.recipe, None, None) == image_folder

    def test_without_one_it_is_below_the_data_home_under_the_data_sets_name(self, tmp_path):
        loaded = load("cifar10")
        assert data_folder(loaded, loaded.recipe, None, None) == tmp_path / "data" / "cifar10"

    def test_one_that_is_not_there_is_refused(self, tmp_path):
        loaded = load("cifar10")
        with pytest.raises(UserError, match="no such data folder"):
            data_folder(loaded, loaded.recipe, tmp_path / "nothing", None)

    def test_the_folder_recipe_alone_wants_one(self):
        loaded = load("folder")
        with pytest.raises(UserError, match="trains on a folder of images. Run: ignite-vision run folder --data DIR"):
            data_folder(loaded, loaded.recipe, None, None)

    def test_a_run_remembers_its_own(self, make_run, image_folder):
        prepared = make_run(data=image_folder, **PHOTOS)
        begun(prepared)
        assert data_folder(load("folder"), prepared.recipe, None, prepared.directory) == image_folder

    def test_of_a_run_whose_images_moved_the_hint_names_the_command_to_repeat(self, make_run, image_folder, tmp_path):
        prepared = make_run(data=image_folder, **PHOTOS)
        begun(prepared)
        image_folder.rename(tmp_path / "moved")
        hint = f"no longer there .*ignite-vision evaluate {prepared.directory} --data DIR"
        with pytest.raises(UserError, match=hint):
            recorded_folder(prepared.recipe, prepared.directory, "evaluate")

    def test_a_data_set_that_needs_no_folder_may_come_from_another_machine(self, make_run, tmp_path, monkeypatch):
        prepared = make_run()
        begun(prepared)
        monkeypatch.setenv("IGNITE_VISION_DATA", str(tmp_path / "another"))
        assert recorded_folder(prepared.recipe, prepared.directory, "resume") == tmp_path / "another" / "squares"


class TestLoading:
    def test_what_the_system_refuses_is_one_line(self, tmp_path):
        def data(folder):
            return (folder / "nothing").read_bytes()

        with pytest.raises(UserError, match="cannot read the data: No such file or directory .*nothing"):
            load_data(Recipe(data=data, model="digits_cnn", epochs=1), tmp_path)

    def test_class_folders_serve_any_recipe_of_ours_but_no_custom_one(self, image_folder):
        def data(folder):
            images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
            return Splits(train=ArrayImages(images, [0, 1, 0, 1]), classes=("a", "b"))

        ours, custom = (Recipe(data=function, model="digits_cnn", epochs=1) for function in (datasets.cifar10, data))
        assert load_data(ours, image_folder)[0].classes == ("apple", "banana", "cherry")
        assert load_data(custom, image_folder)[0].classes == ("a", "b")

    def test_classes_may_be_numbers(self, make_run):
        def data(folder):
            images = (torch.arange(90) % 3 * 90)[:, None, None, None].expand(-1, 1, 8, 8).to(torch.uint8)
            return Splits(train=ArrayImages(images, torch.arange(90) % 3), classes=range(3))

        train(make_run(data_function=data, epochs=1))
        again = make_run(data_function=data, epochs=2)
        assert again.splits.classes == ("0", "1", "2")
        train(again)


class TestOwn:
    def test_images_are_the_runs_own_wherever_they_lie(self, make_run, image_folder, tmp_path):
        prepared = make_run(data=image_folder, **PHOTOS)
        begun(prepared)
        given = datasets.image_folder(image_folder.rename(tmp_path / "moved"))
        own = own_splits(given, prepared.directory, prepared.directory.read_settings())
        ids = [[splits.test.sample_id(i) for i in range(len(splits.test))] for splits in (own, prepared.splits)]
        assert ids[0] == ids[1]

    @pytest.mark.parametrize("change", ["gone", "new", "resized", "another content", "no splits.csv"])
    def test_changed_ones_are_not(self, make_run, image_folder, change):
        prepared = make_run(data=image_folder, **PHOTOS)
        begun(prepared)
        path = prepared.splits.train.path(0)
        data = path.read_bytes()
        if change == "gone":
            path.unlink()
        elif change == "new":
            path.with_name("new.jpg").write_bytes(data)
        elif change == "resized":
            path.write_bytes(data + b"\0")
        elif change == "another content":  # of one of the images that are looked at
            path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
        else:
            prepared.directory.splits.unlink()
        given = datasets.image_folder(image_folder)
        assert own_splits(given, prepared.directory, prepared.directory.read_settings()) is None


def test_images_that_are_gone_leave_two_ways_on_where_there_is_a_model(make_run, image_folder, tmp_path):
    prepared = make_run(data=image_folder, **PHOTOS)
    begun(prepared)
    prepared.splits.test.path(0).unlink()
    with pytest.raises(UserError, match="1 gone, the first .*Restore it") as failure:
        make_run(data=image_folder, **PHOTOS)
    assert "evaluate" not in str(failure.value)
    prepared.directory.model.touch()
    with pytest.raises(UserError, match=rf"Restore it, .*ignite-vision evaluate {tmp_path / 'run'} --data DIR"):
        make_run(data=image_folder, **PHOTOS)
    assert RunDirectory(tmp_path / "run").splits.is_file()


class TestCutting:
    def test_near_duplicates_are_kept_together_and_the_run_says_how_many_moved(self, make_run, image_folder):
        for name in ("apple", "banana", "cherry"):
            for k in range(12):
                (image_folder / name / f"copy{k:02}.jpg").write_bytes(
                    (image_folder / name / f"{k:02}.jpg").read_bytes()
                )
        prepared = make_run(data=image_folder, **PHOTOS)
        assert any("moved to train, so that near-duplicates" in line for line in said(prepared))
        side = {images.sample_id(i): name for name, images in prepared.splits.items() for i in range(len(images))}
        assert all(side[key] == side[key.replace("copy", "")] for key in side if "copy" in key)

    def test_that_can_be_turned_off(self, make_run, image_folder):
        prepared = make_run(data=image_folder, group_duplicates=False, **PHOTOS)
        assert not any("near-duplicates" in line for line in said(prepared))

    def test_a_manifest_trains_grouped_resumes_and_is_evaluated_as_a_folder_is(self, make_run, image_folder, tmp_path):
        paths = sorted(path.relative_to(image_folder).as_posix() for path in image_folder.glob("*/*.jpg"))
        rows = "".join(f"{path},{path.split('/')[0]},{int(path[-6:-4]) // 2}\n" for path in paths)
        (image_folder / "photos.csv").write_text("path,class,burst\n" + rows)

        def run(name):
            return make_run(
                data=image_folder / "photos.csv",
                out=tmp_path / name,
                group_by="burst",
                cache="pixels",
                epochs=2,
                **PHOTOS,
            )

        whole = run("whole")
        groups = [set(images.groups.tolist()) for _, images in whole.splits.items()]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        train(whole)
        interrupted(run("stopped"), at=1)
        again = run("stopped")
        train(again)
        assert_same_results(whole, again)

    def test_five_folds_test_every_image_once(self, make_run, tmp_path):
        seen = []
        for k in range(1, 6):
            test = make_run(fold=f"{k}/5", out=tmp_path / str(k)).splits.test
            seen += [test.sample_id(i) for i in range(len(test))]
        assert len(seen) == len(set(seen)) == 120

    def test_a_fold_of_data_with_its_own_test_is_refused(self, make_run):
        def whole(root):
            images = ArrayImages(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), [0, 1] * 4)
            return Splits(images, test=images, classes=("a", "b"))

        with pytest.raises(UserError, match="a test split of its own"):
            make_run(data_function=whole, fold="1/5")


class TestChosenClasses:
    def test_a_run_of_some_classes_is_resumed_with_them_and_its_images_are_its_own(self, make_run, image_folder):
        fields = {"data": image_folder, "exclude": ("banana",), "epochs": 2, **PHOTOS}
        stopped = make_run(**fields)
        assert stopped.splits.classes == ("apple", "cherry")
        interrupted(stopped, at=1)
        again = make_run(**fields)
        train(again)
        settings = again.directory.read_settings()
        assert settings["classes"] == ["apple", "cherry"]
        assert settings["recipe"]["exclude"] == ["banana"]
        for given in (datasets.image_folder(image_folder), load_data(again.recipe, image_folder)[0]):
            assert own_splits(given, again.directory, settings).classes == ("apple", "cherry")

    def test_other_classes_are_another_recipe(self, make_run, image_folder):
        fields = {"data": image_folder, **PHOTOS}
        begun(make_run(classes=("apple", "cherry"), **fields))
        with pytest.raises(UserError, match="began with another recipe: classes: .*cherry.* -> .*banana"):
            begun(make_run(classes=("apple", "banana"), **fields))

    def test_named_data_sets_have_them_too(self, tmp_path):
        recipe = Recipe(data=datasets.digits, model="digits_cnn", epochs=1, classes=(3, 8))
        given = load_data(recipe, tmp_path)[0]
        assert given.classes == ("3", "8")
        assert given.train.targets.unique().tolist() == [0, 1]

    def test_a_manifest_has_them_too(self, image_folder):
        paths = sorted(path.relative_to(image_folder).as_posix() for path in image_folder.glob("*/*.jpg"))
        rows = "".join(f"{path},{path.split('/')[0]}\n" for path in paths)
        (image_folder / "photos.csv").write_text("path,class\n" + rows)
        recipe = Recipe(data=datasets.image_folder, model="cifar10_cnn", epochs=1, classes=("cherry", "apple"))
        given = load_data(recipe, image_folder / "photos.csv")[0]
        assert given.classes == ("apple", "cherry")
        assert len(given.train) == 24


class TestBadImages:
    """on_bad_image="skip": the run is that of the images that can be read."""

    SKIP = {**PHOTOS, "on_bad_image": "skip", "val_fraction": 0.25, "test_fraction": 0.25}

    @pytest.fixture
    def broken(self, image_folder):
        for name in ("apple/03.jpg", "cherry/07.jpg"):
            path = image_folder / name
            path.write_bytes(path.read_bytes()[:-40])
        return image_folder

    def test_skipped_ones_are_said_once_recorded_and_cost_nothing_else(self, make_run, broken, tmp_path):
        prepared = make_run(data=broken, **self.SKIP)
        lines = [line for line in said(prepared) if "skipped" in line]
        assert len(lines) == 1
        assert lines[0].startswith("warning: skipped 2 images that cannot be read: apple/03.jpg (the file is cut off),")
        train(prepared)
        rows = prepared.directory.splits.read_text().splitlines()
        assert [row.split(",")[0] for row in rows if ",skipped," in row] == ["apple/03.jpg", "cherry/07.jpg"]
        assert prepared.directory.read_settings()["data"]["skipped"] == 2

        for name in ("apple/03.jpg", "cherry/07.jpg"):
            (broken / name).unlink()
        clean = make_run(out=tmp_path / "clean", data=broken, **self.SKIP)
        train(clean)
        assert_same_results(prepared, clean)

    def test_a_stopped_run_resumes_to_the_same_bytes_whether_they_are_repaired_or_gone(
        self, make_run, broken, tmp_path
    ):
        whole = make_run(out=tmp_path / "whole", data=broken, **self.SKIP)
        train(whole)
        stopped = make_run(data=broken, **self.SKIP)
        interrupted(stopped, at=2)
        (broken / "apple" / "03.jpg").write_bytes((broken / "apple" / "04.jpg").read_bytes())
        (broken / "cherry" / "07.jpg").unlink()
        again = make_run(data=broken, **self.SKIP)
        assert not any("skipped" in line for line in said(again))
        train(again)
        assert_same_results(whole, again)
        assert own_splits(load_data(again.recipe, broken)[0], again.directory, again.directory.read_settings())

    def test_without_it_a_run_fails_and_says_how_to_skip(self, make_run, broken):
        prepared = make_run(data=broken, **PHOTOS)
        with pytest.raises(UserError, match="Replace or remove it, or use --set on_bad_image=skip"):
            train(prepared)

    def test_a_run_that_began_without_it_is_not_mixed_with_it(self, make_run, image_folder):
        train(make_run(data=image_folder, **PHOTOS))
        with pytest.raises(UserError, match="on_bad_image: 'fail' -> 'skip'"):
            train(make_run(data=image_folder, **PHOTOS, on_bad_image="skip"))

    def test_pixels_on_disk_give_the_same_numbers(self, make_run, broken, tmp_path):
        one = make_run(data=broken, cache="none", **self.SKIP)
        other = make_run(out=tmp_path / "pixels", data=broken, cache="pixels", **self.SKIP)
        train(one)
        train(other)
        for name in ("history.jsonl", "predictions.csv", "splits.csv"):
            assert (one.directory / name).read_bytes() == (other.directory / name).read_bytes()


class TestMergedClasses:
    FRUIT = {**PHOTOS, "merge": {"fruit": ("apple", "cherry")}, "epochs": 1}

    def test_a_run_of_them_resumes_and_finds_its_images_again(self, make_run, image_folder):
        prepared = make_run(data=image_folder, **self.FRUIT)
        assert prepared.splits.classes == ("fruit", "banana")
        train(prepared)
        assert train(make_run(data=image_folder, **self.FRUIT)).finished_before
        settings = prepared.directory.read_settings()
        assert settings["recipe"]["merge"] == {"fruit": ["apple", "cherry"]}
        for load_them in (load_data, load_all):
            assert own_splits(load_them(prepared.recipe, image_folder)[0], prepared.directory, settings)

    def test_another_table_is_another_run(self, make_run, image_folder):
        train(make_run(data=image_folder, **self.FRUIT))
        other = {**self.FRUIT, "merge": {"fruit": ("apple", "banana")}}
        with pytest.raises(
            UserError, match=r"began with another recipe: merge: \{'fruit': \['apple', 'cherry'\]\} -> "
        ):
            make_run(data=image_folder, **other)

    def test_weights_and_chosen_classes_name_the_new(self, make_run, image_folder):
        prepared = make_run(data=image_folder, class_weights={"fruit": 2.0}, classes=("fruit", "banana"), **self.FRUIT)
        assert prepared.class_weights.tolist() == [2.0, 1.0]
        with pytest.raises(UserError, match="the data has no class 'apple'"):
            make_run(data=image_folder, classes=("apple", "banana"), **self.FRUIT)
