"""Random numbers as functions: frozen for ever, and independent of everything but their words."""

import random

import numpy as np
import pytest
import torch

from ignite_vision.randomness import Purpose, generator, key, seed_everything, uniforms


def test_the_key_function_is_frozen():
    """A change here would break the exact resume of every run made before it."""
    assert key(0, Purpose.INIT) == GOLDEN_KEYS[0]
    assert key(7, Purpose.ORDER, 3) == GOLDEN_KEYS[1]
    assert key(-1, Purpose.SAMPLE, 2, 1 << 40) == GOLDEN_KEYS[2]


def test_the_augmentations_draws_are_frozen():
    assert uniforms(7, 3, np.array([0, 41]), 2).flatten().tolist() == GOLDEN_UNIFORMS


def test_a_purpose_keeps_its_number():
    assert [p.name for p in Purpose] == ["INIT", "ORDER", "SAMPLE", "STEP", "SPLIT", "AUGMENT", "BOOTSTRAP", "FOLDS"]
    assert [int(p) for p in Purpose] == list(range(8))


def test_no_two_words_share_a_key():
    keys = {key(seed, purpose, word) for seed in range(10) for purpose in Purpose for word in range(100)}
    assert len(keys) == 10 * len(Purpose) * 100


def test_draws_follow_the_image_not_the_batch():
    whole = uniforms(1, 5, np.arange(20), 3)
    assert uniforms(1, 5, np.array([7, 3]), 3).equal(whole[[7, 3]])
    assert not uniforms(1, 6, np.arange(20), 3).equal(whole)
    assert not uniforms(2, 5, np.arange(20), 3).equal(whole)


def test_a_draw_is_the_upper_bits_of_its_key():
    expected = [[(key(5, Purpose.AUGMENT, 2, image, k) >> 40) / 2**24 for k in range(2)] for image in (3, 1 << 40)]
    assert uniforms(5, 2, np.array([3, 1 << 40]), 2).tolist() == expected


def test_draws_are_uniform_and_uncorrelated():
    u = uniforms(0, 0, np.arange(20000), 3)
    assert u.dtype == torch.float32
    assert 0 <= u.min() and u.max() < 1
    assert u.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.01)
    assert u.var(0).tolist() == pytest.approx([1 / 12] * 3, abs=0.002)
    assert torch.corrcoef(u.T).fill_diagonal_(0).abs().max() < 0.03


def test_no_draws_are_no_columns():
    assert uniforms(0, 0, np.arange(4), 0).shape == (4, 0)


def everyones_numbers():
    return torch.rand(()).item(), random.random(), np.random.rand()


def test_torch_numpy_and_python_all_start_from_the_key():
    seed_everything(3, Purpose.STEP, 9)
    first = everyones_numbers()
    torch.rand(100)
    seed_everything(3, Purpose.STEP, 9)
    assert everyones_numbers() == first
    seed_everything(3, Purpose.STEP, 10)
    assert not set(everyones_numbers()) & set(first)


def test_a_generator_leaves_the_ambient_one_alone():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=generator(0, Purpose.SPLIT))
    assert torch.random.get_rng_state().equal(before)


GOLDEN_KEYS = (1970727333155262614, 7423324910376915750, 10795124638487091057)
GOLDEN_UNIFORMS = [0.3434904217720032, 0.9541529417037964, 0.05706363916397095, 0.054577410221099854]
