"""Random operations on uint8 batches, each a function of its numbers."""

import pytest
import torch

from ignite_vision.augment import (
    MixUp,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    augment,
    changes_targets,
    draws,
    needs_seed,
)


def batch(n=4, channels=3, side=12):
    return torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8)


def numbers(*rows):
    return torch.tensor(rows, dtype=torch.float32)


TARGETS = torch.tensor([0, 1, 2, 1])
OPERATIONS = [RandomHorizontalFlip(), RandomCrop(), RandomCrop(padding=2), RandomResizedCrop()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_what_comes_out_is_uint8_and_a_function_of_image_and_numbers(operation):
    images, u = batch(), torch.rand(4, operation.draws)
    out = operation(images, u, 8)
    assert out.dtype == torch.uint8
    one = operation(images[2:3], u[2:3], 8)
    assert out[2:3].equal(one)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_what_the_model_sees_need_not_be_square(operation):
    images, u = batch(side=12), torch.rand(4, operation.draws)
    out, _ = augment(images, TARGETS, u, (operation,), (6, 9))
    assert out.shape == (4, 3, 6, 9)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_no_operation_looks_at_values(operation):
    """On the meta device there are none: looking at one would wait for a real device."""
    out = operation(batch().to("meta"), torch.rand(4, operation.draws).to("meta"), 8)
    assert out.shape[:2] == (4, 3)


@pytest.mark.parametrize("operation", OPERATIONS, ids=repr)
def test_the_layout_in_memory_changes_nothing(operation):
    images, u = batch(), torch.rand(4, operation.draws)
    assert operation(images.contiguous(memory_format=torch.channels_last), u, 8).equal(operation(images, u, 8))


def test_half_of_the_images_are_mirrored():
    images = batch(2)
    out = RandomHorizontalFlip()(images, numbers([0.49], [0.5]), 12)
    assert out[0].equal(images[0].flip(-1))
    assert out[1].equal(images[1])


def test_a_random_crop_is_a_window_at_the_drawn_place():
    images = batch(3)
    out = RandomCrop()(images, numbers([0, 0], [0.999, 0.999], [0.4, 0.0]), 8)
    assert out[0].equal(images[0, :, :8, :8])
    assert out[1].equal(images[1, :, 4:, 4:])
    assert out[2].equal(images[2, :, 2:10, :8])


def test_every_place_of_a_random_crop_is_equally_likely():
    rows = torch.arange(12, dtype=torch.uint8).view(1, 1, 12, 1).expand(10000, 1, 12, 12)
    tops = RandomCrop()(rows, torch.rand(10000, 2, generator=torch.Generator().manual_seed(0)), 8)[:, 0, 0, 0]
    assert torch.bincount(tops.long()).float().div(2000).sub(1).abs().max() < 0.1
    assert set(tops.tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("side", [8, 9, 32, 41, 300])
def test_the_largest_number_draws_the_last_window(side):
    largest = 1 - 2**-24
    images = batch(1, side=side)
    assert RandomCrop()(images, numbers([largest, largest]), 8)[0].equal(images[0, :, -8:, -8:])


def test_padding_is_black_and_reaches_the_corners():
    out = RandomCrop(padding=4)(batch(1) | 1, numbers([0, 0]), 12)
    assert (out[0, :, :4] == 0).all() and (out[0, :, 4:, 4:] > 0).all()


def test_a_resized_crop_of_everything_is_the_image():
    images = batch(side=16)
    whole = RandomResizedCrop(scale=(1, 1), ratio=(1, 1))
    assert whole(images, torch.rand(4, 4), 16).equal(images)


def test_a_resized_crop_stays_inside_and_has_the_drawn_area():
    ramp = torch.arange(64).view(1, 1, 1, 64).expand(500, 1, 64, 64).mul(4).to(torch.uint8)
    out = RandomResizedCrop(scale=(0.25, 0.25), ratio=(1, 1))(ramp, torch.rand(500, 4), 32)
    spans = (out[:, 0, 0, -1].int() - out[:, 0, 0, 0].int()) / 4
    assert spans.float().mean().item() == pytest.approx(31, abs=0.6)


@pytest.mark.parametrize("shape", [(40, 20), (20, 40)])
def test_a_resized_crop_of_an_image_that_is_no_square_stays_inside(shape):
    images = torch.full((50, 1, *shape), 200, dtype=torch.uint8)
    assert (RandomResizedCrop()(images, torch.rand(50, 4), 16) == 200).all()


def test_what_no_operation_has_cropped_is_cropped_from_the_centre():
    images = batch()
    out, targets = augment(images, TARGETS, torch.zeros(4, 0), (), 8)
    assert out.equal(images[:, :, 2:10, 2:10])
    assert targets is TARGETS


def test_each_operation_gets_its_own_numbers():
    images, operations = batch(), (RandomHorizontalFlip(), RandomCrop())
    assert draws(operations) == 3
    u = torch.rand(4, 3)
    expected = RandomCrop()(RandomHorizontalFlip()(images, u[:, :1], 8), u[:, 1:], 8)
    assert augment(images, TARGETS, u, operations, 8)[0].equal(expected)


def noise(images, size):
    return images ^ torch.randint(0, 4, images.shape, dtype=torch.uint8)


def test_a_plain_function_may_draw_from_the_ambient_generator_and_needs_it_seeded():
    images = batch()
    torch.manual_seed(0)
    first, _ = augment(images, TARGETS, torch.zeros(4, 0), (noise,), 12)
    torch.manual_seed(0)
    assert augment(images, TARGETS, torch.zeros(4, 0), (noise,), 12)[0].equal(first)
    assert not first.equal(images)
    assert needs_seed((RandomCrop(), noise))
    assert not needs_seed((RandomCrop(), MixUp(3)))


class Blacken:
    """Black images get class 0: an operation that sees targets, without and with draws."""

    targets = True

    def __init__(self, draws):
        self.draws = draws

    def __call__(self, images, targets, *more):
        black = more[0][:, 0] < 0.5 if self.draws else torch.ones(len(images), dtype=torch.bool)
        return images * ~black[:, None, None, None], torch.where(black, 0, targets)


def test_an_operation_may_take_and_return_targets():
    images = batch()
    out, targets = augment(images, TARGETS, torch.zeros(4, 0), (Blacken(0),), 12)
    assert not out.any() and not targets.any()
    u = torch.tensor([[0.9, 0.1], [0.9, 0.9], [0.9, 0.1], [0.9, 0.9]])
    out, targets = augment(images, TARGETS, u, (RandomHorizontalFlip(), Blacken(1)), 12)
    assert targets.tolist() == [0, 1, 0, 1]
    assert out[1::2].equal(images[1::2]) and not out[::2].any()


def test_what_changes_targets_says_so():
    assert changes_targets((RandomCrop(), Blacken(0)))
    assert not changes_targets((RandomCrop(), noise))


def test_mixup_blends_each_image_and_target_with_the_next():
    images = torch.tensor([0, 100, 200, 40], dtype=torch.uint8).view(4, 1, 1, 1)
    out, targets = augment(images, TARGETS, numbers([0.75], [1.0], [0.5], [0.0]), (MixUp(3),), 1)
    assert out.flatten().tolist() == [25, 100, 120, 0]
    assert out.dtype == torch.uint8
    assert targets.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5], [1, 0, 0]]


def test_mixup_takes_soft_targets():
    soft = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    _, targets = MixUp(2)(batch(2), soft, numbers([0.5], [1.0]), 12)
    assert targets.tolist() == [[0.75, 0.25], [1.0, 0.0]]


def test_mixup_looks_at_no_values():
    out, targets = MixUp(3)(batch().to("meta"), torch.rand(4, 3).to("meta"), torch.rand(4, 1).to("meta"), 8)
    assert (out.shape, targets.shape) == ((4, 3, 12, 12), (4, 3))
