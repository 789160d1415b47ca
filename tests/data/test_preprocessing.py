"""From any image to what the model sees, the same way everywhere."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import DenseNet121_Weights, EfficientNet_B0_Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ignite_vision.data.preprocessing import (
    Preprocessing,
    _scale_and_shift,
    canvas,
    center_crop,
    from_weights,
    luminance,
    normalize,
    resized,
    window,
)
from ignite_vision.errors import UserError

IMAGENET = from_weights(DenseNet121_Weights.DEFAULT)
GREY = Preprocessing(channels=1, resize=28, crop=28, mean=(0.5,), std=(0.5,))


def photo(height, width, channels=3):
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)


def test_weights_say_their_own_preprocessing():
    assert (IMAGENET.resize, IMAGENET.crop, IMAGENET.interpolation) == (256, 224, "bilinear")
    assert IMAGENET.mean == (0.485, 0.456, 0.406)
    assert from_weights(EfficientNet_B0_Weights.DEFAULT).interpolation == "bicubic"


def test_it_survives_json():
    assert Preprocessing.from_dict(json.loads(json.dumps(IMAGENET.to_dict()))) == IMAGENET


@pytest.mark.parametrize("size", [(300, 400), (401, 300), (256, 256), (303, 257), (100, 130)])
def test_the_canvas_is_torchvisions_resize_and_centre_crop(size):
    image = photo(*size)
    expected = F.center_crop(F.resize(image, [256], antialias=True), [224, 224])
    assert canvas(image, IMAGENET, 224).equal(expected)


@pytest.mark.parametrize("resize", range(20, 24))
@pytest.mark.parametrize("crop", range(16, 20))
def test_the_crop_of_every_canvas_is_torchvisions_whatever_is_even_or_odd(resize, crop):
    preprocessing = Preprocessing(channels=3, resize=resize, crop=crop, mean=(0, 0, 0), std=(1, 1, 1))
    for height in range(resize, resize + 5):
        image = photo(height, resize)
        for size in range(crop, resize + 1):
            square = canvas(image, preprocessing, size)
            assert square.shape == (3, size, size)
            assert center_crop(square, crop).equal(F.center_crop(image, [crop, crop]))


def test_an_image_eight_times_as_long_as_wide_is_still_torchvisions():
    image = photo(30, 240)
    expected = F.center_crop(F.resize(image, [256], antialias=True), [224, 224])
    assert canvas(image, IMAGENET, 224).equal(expected)


def test_a_canvas_for_random_crops_holds_the_one_for_evaluation():
    image = photo(301, 417)
    assert center_crop(canvas(image, IMAGENET, 256), 224).equal(canvas(image, IMAGENET, 224))


def test_a_batch_is_treated_like_its_images():
    images = torch.stack([photo(40, 30, 1) for _ in range(3)])
    together = canvas(images, GREY, 28)
    assert together.equal(torch.stack([canvas(image, GREY, 28) for image in images]))


def test_an_image_that_fits_is_passed_through():
    image = photo(28, 28, 1)
    assert canvas(image, GREY, 28).data_ptr() == image.data_ptr()


def test_colour_becomes_grey_for_a_grey_model():
    assert canvas(photo(28, 28), GREY, 28).shape == (1, 28, 28)


def test_every_grey_stays_what_it_is_in_a_grey_model():
    greys = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert luminance(greys.expand(3, -1, -1)).equal(greys)


def test_luminance_is_the_weighted_sum_rounded():
    image = photo(64, 64)
    exact = (image.double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)).sum(0, True)
    assert (luminance(image).double() - exact).abs().max() < 0.501
    assert luminance(torch.stack([image, image])).shape == (2, 1, 64, 64)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 401), (61, 20), (20, 160), (256, 255), (1, 3)])
@pytest.mark.parametrize("short", [17, 64, 256])
def test_resizing_is_torchvisions_where_that_sums_integers(size, short, interpolation):
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("torchvision resizes in float here")
    for image in (photo(*size), photo(*size, 1), photo(*size).permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        expected = F.resize(image, [short], interpolation=InterpolationMode(interpolation), antialias=True)
        assert resized(image, short, interpolation).equal(expected)


def digest_of_canvases():
    random, digest = torch.Generator().manual_seed(0), hashlib.sha256()
    for interpolation in ("nearest", "bilinear", "bicubic"):
        for channels in (1, 3):
            for height, width in ((300, 400), (61, 20), (33, 47)):
                image = torch.randint(0, 256, (3, height, width), generator=random, dtype=torch.uint8)
                half = (0.5,) * channels
                to = Preprocessing(
                    channels=channels, resize=40, crop=32, interpolation=interpolation, mean=half, std=half
                )
                digest.update(canvas(image, to, 40).numpy().tobytes())
                digest.update(canvas(image.permute(1, 2, 0).contiguous().permute(2, 0, 1), to, 36).numpy().tobytes())
    return digest.hexdigest()


def test_a_canvas_is_the_same_on_a_processor_without_vector_instructions():
    code = (
        "import torch; from tests.data.test_preprocessing import digest_of_canvases; "
        "print(torch.backends.cpu.get_cpu_capability(), digest_of_canvases())"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=True, capture_output=True)
    assert done.stdout.decode().split() == ["DEFAULT", digest_of_canvases()]


@pytest.mark.parametrize("shape", [(1, 60000), (60000, 1), (3, 50000)])
def test_an_elongated_image_takes_little_memory(shape):
    assert canvas(photo(*shape), IMAGENET, 224).shape == (3, 224, 224)


def test_normalising_is_subtracting_the_mean_and_dividing_by_the_deviation():
    images = torch.stack([photo(32, 32) for _ in range(4)])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))
    out = normalize(images, IMAGENET)
    assert torch.allclose(out, (images / 255 - mean) / std, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.dtype == torch.float32


@pytest.mark.parametrize(("channels", "width"), [(1, 28), (3, 1), (3, 33)])
def test_normalising_works_for_every_shape(channels, width):
    preprocessing = GREY if channels == 1 else IMAGENET
    images = torch.randint(0, 256, (2, channels, 5, width), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    assert torch.allclose(normalize(images, preprocessing), (images / 255 - mean) / std, atol=1e-5)


def test_what_was_first_normalised_for_inference_can_be_trained_on():
    _scale_and_shift.cache_clear()
    images = torch.stack([photo(8, 8)])
    with torch.inference_mode():
        normalize(images, IMAGENET)
    weight = torch.ones(1, requires_grad=True)
    (normalize(images, IMAGENET) * weight).sum().backward()
    assert weight.grad is not None


def test_normalising_leaves_the_batch_as_it_was():
    images = torch.stack([photo(8, 8)])
    before = images.clone()
    normalize(images, IMAGENET)
    assert images.equal(before)


def test_grey_is_repeated_for_a_model_of_three_channels():
    out = normalize(photo(8, 8, 1)[None], IMAGENET)
    assert out.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 2}, {"crop": 300}, {"crop": 0}, {"interpolation": "lanczos"}, {"std": (0.0, 1, 1)}, {"mean": (0.5,)}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(UserError, match="preprocessing|interpolation"):
        Preprocessing(**{**IMAGENET.to_dict(), **wrong})


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 500), (500, 300), (224, 224), (97, 41), (40, 1000), (1000, 333), (256, 400)])
def test_the_window_is_what_the_canvas_shows(size, interpolation):
    small = Preprocessing(
        channels=1, resize=64, crop=56, interpolation=interpolation, mean=GREY.mean, std=GREY.std
    )  # fmt: skip
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in size), indexing="ij")
    for places, side, first in ((rows, size[0], 0), (columns, size[1], 1)):
        seen = canvas((places * 255).round().to(torch.uint8)[None], small, small.crop)[0].float() / 255 * (side - 1)
        line = seen.mean(1 - first)  # the image's own row, or column, at each pixel of the canvas
        start, length = (window(*size, small)[k] for k in (first, first + 2))
        expected = start + (torch.arange(small.crop) + 0.5) * length / small.crop - 0.5
        assert (line - expected).abs()[2:-2].max() <= side / 255 + 0.05  # a level of grey


def shaped(fit="crop", shape=(20, 30), resize=None, channels=3):
    crop = min(shape)
    numbers = {"mean": (0.4,) * channels, "std": (0.2,) * channels}
    return Preprocessing(channels=channels, resize=resize or crop, crop=crop, shape=shape, fit=fit, **numbers)


class TestFits:
    """All of an image is seen, or its centre; in a square or not."""

    @pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
    @pytest.mark.parametrize("shape", [(20, 30), (30, 20), (24, 24), (8, 60)])
    @pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (24, 24), (19, 31), (7, 300), (300, 7), (120, 180)])
    def test_any_image_gets_the_shape(self, fit, shape, size):
        how = shaped(fit, shape)
        for channels in (1, 3):
            assert canvas(photo(*size, channels), how, how.size).shape == (channels, *shape)
        assert len(window(*size, how)) == 4

    @pytest.mark.parametrize("shape", [(20, 30), (30, 20)])
    def test_a_crop_of_another_shape_is_the_largest_that_fits(self, shape):
        image = photo(60, 60)
        whole = F.resize(image, [30, 30], antialias=True)
        assert canvas(image, shaped("crop", shape), shape).equal(F.center_crop(whole, list(shape)))

    def test_what_is_at_the_border_is_cut_off_by_crop_alone(self):
        image = torch.zeros(3, 40, 120, dtype=torch.uint8)
        image[:, :, :6] = image[:, :, -6:] = 255
        for fit, seen in (("crop", False), ("pad", True), ("squash", True)):
            how = Preprocessing(channels=3, resize=32, crop=32, fit=fit, mean=(0,) * 3, std=(1,) * 3)
            assert bool(canvas(image, how, 32).amax() == 255) is seen

    def test_bars_are_the_mean_on_both_sides_and_nearly_nothing_once_normalised(self):
        how = shaped("pad", (30, 30))
        image = photo(60, 20)
        made = canvas(image, how, 30)
        assert (made[:, :, :10] == how.grey).all() and (made[:, :, 20:] == how.grey).all()
        assert made[:, :, 10:20].equal(resized(image, (30, 10), "bilinear"))
        assert normalize(made[None], how)[..., :10].abs().max() < 0.01

    def test_a_squashed_image_is_resized_to_the_shape(self):
        image = photo(61, 35)
        expected = F.resize(image, [20, 30], antialias=True)
        assert canvas(image, shaped("squash"), (20, 30)).equal(expected)

    @pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
    def test_a_canvas_for_random_crops_holds_the_one_for_evaluation(self, fit):
        how = shaped(fit, resize=25 if fit == "crop" else None)
        image = photo(41, 77)
        assert center_crop(canvas(image, how, how.box), how.size).equal(canvas(image, how, how.size))

    @pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
    @pytest.mark.parametrize("size", [(300, 500), (500, 300), (97, 41)])
    def test_the_window_is_what_the_canvas_shows(self, fit, size):
        how = shaped(fit, (48, 64), channels=1)
        top, left, height, width = window(*size, how)
        seen = canvas(torch.full((1, *size), 255, dtype=torch.uint8), how, how.size)[0] == 255
        rows, columns = seen.any(1).sum() / 48 * height, seen.any(0).sum() / 64 * width
        assert (rows, columns) == pytest.approx((min(height, size[0]), min(width, size[1])), rel=0.03)
        assert top + height / 2 == pytest.approx(size[0] / 2, abs=height / 48)
        assert left + width / 2 == pytest.approx(size[1] / 2, abs=width / 64)

    def test_the_default_says_nothing_new_and_the_others_survive_json(self):
        assert set(IMAGENET.to_dict()) == {"channels", "resize", "crop", "interpolation", "mean", "std"}
        assert shaped("crop", (24, 24)).shape is None
        for how in (shaped("pad"), shaped("squash", (24, 24)), shaped("crop", resize=22)):
            assert Preprocessing.from_dict(json.loads(json.dumps(how.to_dict()))) == how

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"fit": "stretch"}, "no fit 'stretch'. Choose one of crop, pad, squash"),
            ({"fit": "pad"}, "cuts nothing with fit='pad', and resize=256 is not crop=224"),
            ({"shape": (100, 200)}, "has crop=224, which is no side of shape=100x200"),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, wrong, message):
        with pytest.raises(UserError) as failure:
            Preprocessing(**{**IMAGENET.to_dict(), **wrong})
        assert message in str(failure.value)
