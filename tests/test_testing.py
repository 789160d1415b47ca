"""What a recipe's author tests with."""

from ignite.engine import Events

from ignite_vision import Recipe, datasets
from ignite_vision.testing import digits, two_batches, write_photos


def test_the_digits_are_real_and_few():
    splits = digits()
    assert len(splits.train) == 60
    assert splits.classes == ("0", "1", "2")
    assert splits.train.targets.bincount().tolist() == [20, 20, 20]
    assert splits.train[0][0].shape == (1, 8, 8)
    assert 200 < splits.train[0][0].max() <= 255


def test_two_batches_train_with_the_recipes_own_handlers_and_leave_nothing(tmp_path):
    seen = []

    def handlers(run):
        @run.trainer.on(Events.ITERATION_COMPLETED)
        def look(trainer):
            seen.append(trainer.state.output["loss"].item())

    recipe = Recipe(data=datasets.cifar10, model="digits_cnn", epochs=5, batch_size=16, handlers=handlers)
    run = two_batches(recipe, data=digits, out=tmp_path / "run")
    assert run.trainer.state.iteration == len(seen) == 2
    assert not (tmp_path / "run").exists()


def test_a_folder_of_photographs_is_written_for_recipes_that_read_one(tmp_path):
    folder = write_photos(tmp_path / "photos", per_class=8)
    assert len(list(folder.rglob("*.png"))) == 24
    recipe = Recipe(data=datasets.image_folder, model="cifar10_cnn", epochs=1, batch_size=8)
    assert two_batches(recipe, data=folder).trainer.state.iteration == 2
