"""All images in one row."""

from ignite_vision import datasets
from ignite_vision.data.splits import cut
from ignite_vision.health.collection import Collection
from tests.helpers.pictures import write_pictures


def test_images_are_counted_through_train_val_and_test(photos, collected):
    images = collected(photos)
    assert len(images) == 30
    assert [name for name, _ in images.parts] == ["train", "val", "test"]
    names = [images.name(k) for k in range(len(images))]
    assert len(set(names)) == 30
    for k, name in enumerate(names):
        assert images.path(k) == photos / name
        assert images.classes[images.targets[k]] == name[0]
        container, i = images.place(k)
        assert container is images.splits[images.split(k)]
        assert container.sample_id(i) == name
    assert images.in_split("test").sum() == len(images.splits.test)


def test_a_split_without_images_is_passed_over(photos, collected):
    splits = collected(photos).splits
    empty = Collection(type(splits)(splits.train, splits.val.subset([]), splits.test, splits.classes))
    assert empty.split(len(splits.train)) == "test"
    assert empty.name(len(splits.train)) == splits.test.sample_id(0)


def test_twenty_names_are_shown(tmp_path, collected):
    images = collected(write_pictures(tmp_path, classes=3, each=9))
    assert len(images.names(range(27))) == 20
    assert images.names([2, 0, 1]) == tuple(sorted(images.name(k) for k in range(3)))


def test_every_image_of_a_cut_is_found_where_it_was_before(tmp_path):
    for split in ("train", "test"):
        write_pictures(tmp_path / split, each=8, first=0 if split == "train" else 500)
    given = datasets.image_folder(tmp_path)
    before, after = Collection(given), Collection(cut(given, 0.3, 0.1, 7))
    places = before.places_of(after)
    assert [before.name(int(k)) for k in places] == [after.name(k) for k in range(len(after))]
    some = Collection(type(given)(given.train.subset(range(3, 20)), None, None, given.classes))
    part = Collection(cut(some.splits, 0.3, 0.1, 7))
    assert [some.name(int(k)) for k in some.places_of(part)] == [part.name(k) for k in range(len(part))]
