"""What an exported network does to an image is what our own canvas does, bit for bit."""

import dataclasses
import random

import pytest
import torch

from ignite_vision.data.preprocessing import Preprocessing, canvas
from ignite_vision.inference.portable import Half, Portable, Window, exported

PRESETS = [(256, 224, 3), (224, 224, 3), (342, 299, 3), (40, 37, 3), (28, 28, 1), (8, 8, 1)]


def preprocessing(resize=256, crop=224, channels=3, interpolation="bilinear", mean=0.4, std=0.2):
    means, stds = (mean,) * channels, (std,) * channels
    return Preprocessing(channels=channels, resize=resize, crop=crop, interpolation=interpolation, mean=means, std=stds)


def picture(height, width, seed, n=1):
    """(n,3,height,width) uint8: noise, sometimes of black and white alone, where cubic overshoots."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)
    return (pixels > 127).to(torch.uint8) * 255 if seed % 3 == 0 else pixels


def windows(images, plan):
    return Window(plan)(images.permute(0, 2, 3, 1)), canvas(images, plan, plan.crop).float()


@pytest.mark.parametrize("sizes", [30, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_the_window_is_the_canvas_bit_for_bit_at_random_sizes(interpolation, sizes):
    draw = random.Random(interpolation)
    for seed in range(sizes):
        most = draw.choice([(60, 60), (300, 300), (900, 15), (15, 900)])
        height, width = draw.randint(1, most[0]), draw.randint(1, most[1])
        resize, crop, channels = draw.choice(PRESETS[-3:] if seed % 4 else PRESETS)
        plan = preprocessing(resize, crop, channels, interpolation)
        found, wanted = windows(picture(height, width, seed), plan)
        assert found.equal(wanted), (height, width, resize, crop, channels)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 7), (7, 1), (3, 60), (2000, 9), (9, 2001), (255, 256), (256, 256), (256, 700)]
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_so_it_is_at_the_sizes_where_rules_change(size, interpolation):
    found, wanted = windows(picture(*size, seed=1), preprocessing(interpolation=interpolation))
    assert found.equal(wanted)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_so_it_is_of_every_fit_and_shape(fit, interpolation):
    draw = random.Random(f"{fit} {interpolation}")
    for seed in range(25):
        shape, channels = draw.choice([(8, 8), (20, 30), (37, 24), (9, 60), (17, 16)]), draw.choice([1, 3])
        most = draw.choice([(60, 60), (200, 200), (900, 6), (6, 900), (2, 3)])
        height, width = draw.randint(1, most[0]), draw.randint(1, most[1])
        crop = min(shape)
        resize = draw.choice([crop, crop + 1, 2 * crop]) if fit == "crop" else crop
        plan = preprocessing(resize, crop, channels, interpolation)
        plan = dataclasses.replace(plan, fit=fit, shape=shape)
        images = picture(height, width, seed)
        found, wanted = Window(plan)(images.permute(0, 2, 3, 1)), canvas(images, plan, plan.size).float()
        assert found.equal(wanted), (height, width, resize, shape, channels)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_so_it_is_of_twelve_megapixels(interpolation):
    found, wanted = windows(picture(3000, 4000, seed=1), preprocessing(interpolation=interpolation))
    assert found.equal(wanted)


def test_each_of_the_256_greys_stays_what_it_is():
    greys = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    found, wanted = windows(greys, preprocessing(16, 16, channels=1))
    assert found.equal(wanted)
    assert found.equal(greys[:, :1].float())


def test_a_pixel_made_of_more_than_258_is_off_by_one_at_most():
    found, wanted = windows(picture(1500, 1400, seed=1), preprocessing(8, 8))
    assert (found - wanted).abs().max() <= 1


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()


def probabilities(network, images, plan, temperature):
    scale = torch.tensor(plan.std).view(1, -1, 1, 1)
    pixels = (canvas(images, plan, plan.crop) / 255 - torch.tensor(plan.mean).view(1, -1, 1, 1)) / scale
    return (network(pixels) / temperature).softmax(1)


@torch.no_grad()
def test_uint8_images_go_in_and_calibrated_probabilities_come_out(network):
    plan, images = preprocessing(40, 37), picture(70, 50, seed=1, n=3)
    found = Portable(network, plan, temperature=0.3)(images.permute(0, 2, 3, 1))
    assert found.shape == (3, 5)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(3))
    assert torch.allclose(found, probabilities(network, images, plan, 0.3), atol=1e-6)


@torch.no_grad()
def test_half_precision_is_inside_the_network_alone(network):
    plan, images = preprocessing(40, 37), picture(70, 50, seed=1, n=3)
    wanted = probabilities(network, images, plan, 1.0)
    found = Portable(Half(network), plan, temperature=1.0)(images.permute(0, 2, 3, 1))
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 1e-2


@pytest.mark.slow
@torch.no_grad()
def test_exported_it_takes_any_number_of_images_of_any_size_and_holds_no_line_of_source(network):
    plan = preprocessing(40, 37)
    module = Portable(network, plan, temperature=0.5)
    program = exported(module)
    for n, height, width in ((1, 1, 1), (1, 37, 400), (5, 41, 40)):
        images = picture(height, width, seed=1, n=n).permute(0, 2, 3, 1)
        assert torch.allclose(program.module()(images), module(images), atol=1e-6)
    assert not any("stack_trace" in node.meta for node in program.graph_module.graph.nodes)
