"""From any image to what the model sees, the same way everywhere."""

import json

import pytest
import torch
from torchvision.models import DenseNet121_Weights, EfficientNet_B0_Weights
from torchvision.transforms.v2 import functional as F

from ignite_vision.errors import UserError
from ignite_vision.preprocessing import Preprocessing, canvas, center_crop, from_weights, normalize

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


@pytest.mark.parametrize("height", range(256, 262))
@pytest.mark.parametrize("crop", [223, 224])
def test_the_centre_of_a_centre_is_the_centre(height, crop):
    image = photo(height, 256)
    if (256 - crop) % 2 == 0:
        assert center_crop(center_crop(image, 256), crop).equal(center_crop(image, crop))


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
