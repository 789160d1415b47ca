"""A heat map is what each place adds to the logit, and real photographs light up where they are."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from ignite_vision import models
from ignite_vision.data.images import read_image
from ignite_vision.data.preprocessing import Canvas, Preprocessing, normalize
from ignite_vision.inference.gradcam import gradcam, is_of_tokens, last_map
from ignite_vision.models.head import find_head

IMAGENET = Preprocessing(channels=3, resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def network(name, size=224, channels=3):
    """A network with a head that says something, and the name of its last map."""
    torch.manual_seed(0)
    built = models.build(name, 10).eval()
    nn.init.normal_(find_head(built)[1].weight, std=0.1)  # a ViT's is zero at first
    return built, last_map(built, size, channels)


def of_images(built, layer, size=224, n=2, channels=3):
    """(logits, gradient times activation of class 3) of noise."""
    x = torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = built(x)
    return logits, gradcam(built, x, [3] * n, layer)


@pytest.mark.parametrize(
    ("name", "layer", "size", "channels"),
    [
        ("mobilenet_v2", "features", 64, 3),
        ("squeezenet1_0", "classifier.0", 96, 3),
        ("resnet18", "layer4", 64, 3),
        ("cifar10_cnn", "8", 32, 3),
        ("digits_cnn", "6", 8, 1),
        pytest.param("densenet121", "features", 64, 3, marks=pytest.mark.slow),
        pytest.param("vgg11", "avgpool", 64, 3, marks=pytest.mark.slow),
        pytest.param("swin_t", "permute", 64, 3, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "features", 64, 3, marks=pytest.mark.slow),
        pytest.param("googlenet", "inception5b", 64, 3, marks=pytest.mark.slow),
    ],
)
def test_the_last_map_is_found_and_gives_one(name, layer, size, channels):
    built, found = network(name, size, channels)
    assert found == layer
    _, heat = of_images(built, found, size, channels=channels)
    assert heat.shape[1] == heat.shape[2] > 1
    assert heat.dtype == torch.float32
    assert (heat >= 0).all()


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (64, 80)])
def test_the_map_of_what_is_no_square_has_its_shape(size):
    built, layer = network("resnet18", size)
    assert layer == "layer4"
    heat = gradcam(built, torch.randn(2, 3, *size), [3, 3], layer)
    assert heat.shape == (2, -(-size[0] // 32), -(-size[1] // 32))


@pytest.mark.slow
def test_a_vision_transformer_has_its_map_before_the_last_attention():
    built, layer = network("vit_b_16")
    assert layer == "encoder.layers.encoder_layer_11.ln_1"
    assert of_images(built, layer, n=1)[1].shape == (1, 14, 14)


class Tokens(nn.Module):
    """Patches as tokens with a class token, one attention, and an answer by the class token or by the mean."""

    def __init__(self, of_class):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.attention, self.after = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 8)
        self.head, self.of_class = nn.Linear(8, 2), of_class

    def forward(self, x):
        tokens = self.patches(x).flatten(2).mT
        tokens = self.norm(torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1))
        tokens = self.after(tokens + self.attention(tokens, tokens, tokens)[0])
        return self.head(tokens[:, 0] if self.of_class else tokens[:, 1:].mean(1))


@pytest.mark.parametrize(("of_class", "layer"), [(True, "norm"), (False, "after")])
def test_of_tokens_the_last_that_all_matter_are_taken(of_class, layer):
    built = Tokens(of_class).eval()
    nn.init.zeros_(built.head.weight)  # as that of a new vision transformer
    assert last_map(built, 16) == layer
    nn.init.ones_(built.head.weight)
    heat = gradcam(built, torch.rand(2, 3, 16, 16), [0, 1], layer)
    assert heat.shape == (2, 4, 4)
    assert last_map(built, (16, 32)) == layer
    assert gradcam(built, torch.rand(2, 3, 16, 32), [0, 1], layer).shape == (2, 4, 8)
    assert is_of_tokens(built, 16, 3, layer)
    assert not is_of_tokens(built, 16, 3, "patches")


def textures():
    """Stripes of two widths and four directions, (8,32,32)."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    angles = [k * math.pi / 4 for k in range(4)]
    return torch.stack([torch.sin((math.cos(a) * x + math.sin(a) * y) * f) for f in (0.6, 1.2) for a in angles])


def planted(classes, quarters, generator):
    """Noise with the texture of each class in a quarter of the image. classes, quarters: (N,K) -> (N,3,64,64)."""
    images, kinds = torch.randn(len(classes), 3, 64, 64, generator=generator) / 2, textures()
    for image, of, where in zip(images, classes.tolist(), quarters.tolist(), strict=True):
        for c, q in zip(of, where, strict=True):
            shift = torch.randint(32, (2,), generator=generator).tolist()
            image[:, 32 * (q // 2) :, 32 * (q % 2) :][:, :32, :32] += kinds[c].roll(shift, (0, 1))
    return images


def share_in_quarter(built, images, classes):
    """Mean share of the map of each class that lies in its own quarter of four: 0.25 by chance."""
    layer, shares = last_map(built, 64), []
    for k in range(4):
        heat = gradcam(built, images, classes[:, k].tolist(), layer)
        own = heat[:, 4 * (k // 2) :, 4 * (k % 2) :][:, :4, :4]
        shares.append(own.sum((1, 2)) / heat.sum((1, 2)).clamp(min=1e-12))
    return float(torch.cat(shares).mean())


@pytest.mark.slow
def test_the_map_of_a_small_vision_transformer_lies_on_what_it_learnt():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 8, "num_layers": 1, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
    built = VisionTransformer(**sizes, num_classes=8)
    optimizer = torch.optim.AdamW(built.parameters(), 2e-3)
    for _ in range(120):
        classes, quarters = (torch.randint(n, (48, 1), generator=generator) for n in (8, 4))
        loss = nn.functional.cross_entropy(built(planted(classes, quarters, generator)), classes[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    classes = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(48)])
    images = planted(classes, torch.arange(4).repeat(48, 1), generator)
    assert share_in_quarter(built.eval(), images, classes) > 0.6
    untrained = VisionTransformer(**sizes, num_classes=8).eval()
    nn.init.normal_(untrained.heads.head.weight, std=0.1)
    assert share_in_quarter(untrained, images, classes) < 0.35


def test_a_map_with_its_channels_last_is_one():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.norm, self.head = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.norm(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))

    built = Last().eval()
    assert last_map(built, 16) == "norm"
    x = torch.rand(1, 3, 16, 16)
    adds = torch.einsum("nhwc,c->nhw", built.norm(built.patches(x).permute(0, 2, 3, 1)), built.head.weight[1]) / 16
    torch.testing.assert_close(gradcam(built, x, [1], "norm"), adds.detach().clamp(min=0))


def test_a_network_without_any_map_has_none():
    assert last_map(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8) is None


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_with_mean_pooling_and_a_linear_head_it_is_the_class_activation_map(name):
    built, layer = network(name, 64)
    maps = []
    hook = built.get_submodule(layer).register_forward_hook(lambda _m, _i, output: maps.append(output.detach()))
    logits, heat = of_images(built, layer, 64)
    hook.remove()
    head = find_head(built)[1]
    cam = torch.einsum("nchw,c->nhw", maps[0], head.weight[3]).detach()
    torch.testing.assert_close(cam.mean((1, 2)) + head.bias[3], logits[:, 3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(heat, cam.clamp(min=0) / cam[0].numel(), rtol=1e-4, atol=1e-5)


def test_where_positions_are_flattened_it_is_what_each_adds_to_the_logit():
    built = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(32, 2)).eval()
    x = torch.rand(1, 1, 4, 4)
    adds = (built[0](x).flatten() * built[2].weight[1]).view(2, 4, 4).sum(0).detach()
    torch.testing.assert_close(gradcam(built, x, [1], "0")[0], adds.clamp(min=0))


def test_what_follows_may_work_in_place():
    built = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    assert gradcam(built, torch.rand(1, 3, 8, 8), [0], "0") is not None


def test_nothing_that_speaks_for_the_class_is_an_empty_map():
    built = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    with torch.no_grad():
        built[3].weight.fill_(-1)
        built[0].weight.fill_(1)
    assert gradcam(built, torch.ones(1, 1, 4, 4), [0], "1").eq(0).all()


def test_a_layer_without_influence_gives_none():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.head = nn.Conv2d(1, 1, 1), nn.Linear(16, 2)

        def forward(self, x):
            self.aside(x)
            return self.head(x.flatten(1))

    assert gradcam(Aside().eval(), torch.ones(1, 1, 4, 4), [0], "aside") is None


def test_it_leaves_the_network_and_the_gradient_mode_alone():
    built, layer = network("cifar10_cnn", 32)
    with torch.no_grad():
        of_images(built, layer, 32)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert all(p.grad is None and p.requires_grad for p in built.parameters())
    assert not any(module._forward_hooks for module in built.modules())


def test_half_precision_gives_nearly_the_same_map():
    built, layer = network("cifar10_cnn", 32)
    _, exact = of_images(built, layer, 32)
    with torch.autocast("cpu", torch.bfloat16):
        _, rough = of_images(built, layer, 32)
    assert torch.corrcoef(torch.stack([exact.flatten(), rough.flatten()]))[0, 1] > 0.98


# On real photographs: mobilenet_v2 with ImageNet's weights


CLASSES = ("n01440764", "n02979186", "n03028079", "n03394916", "n03417042", "n03445777")  # none like another


@pytest.fixture(scope="module")
def photographs(request):
    """(network, its last map, {class: canvases (2,3,224,224)}): a classifier of six, and what it is surest of.

    Its head is ImageNet's, cut to the six: 994 other classes would share what one place says.
    """
    data = request.getfixturevalue("test_data")
    built = models.build("mobilenet_v2", 1000).eval()
    built.load_state_dict(torch.load(data / "weights" / "mobilenet_v2.pth", weights_only=True))
    canvas = Canvas(IMAGENET, 224)
    found, rows = {}, []
    for k, name in enumerate(CLASSES):
        paths = sorted((data / "imagenet_val_20x50" / name).iterdir())[:8]
        images = torch.stack([canvas(read_image(path)) for path in paths])
        with torch.no_grad():
            sure, labels = built(normalize(images, IMAGENET)).softmax(1).max(1)
        rows.append(int(labels.mode().values))
        found[k] = images[torch.where(labels == rows[-1], sure, 0).topk(2).indices]
    head = built.classifier[1]
    weight, bias = (values.detach()[rows] - values.detach()[rows].mean(0) for values in (head.weight, head.bias))
    head.weight, head.bias = nn.Parameter(weight), nn.Parameter(bias)
    return built, last_map(built, 64), found


def energy(built, layer, found):
    """Grid pointing: mean share of the map in the right quarter of mosaics of 2x2 photographs. By chance 0.25."""
    labels = list(found)
    shares = []
    for k, four in enumerate((labels[:4], labels[2:])):
        a, b, c, d = (found[label][k] for label in four)
        mosaic = torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2)[None]
        x = normalize(mosaic, IMAGENET)
        for quarter, label in enumerate(four):
            heat = gradcam(built, x, [label], layer)[0]
            top, left = (heat.shape[0] // 2 * place for place in divmod(quarter, 2))
            right = heat[top : top + heat.shape[0] // 2, left : left + heat.shape[1] // 2]
            shares.append(float(right.sum() / heat.sum().clamp(min=1e-9)))
    return sum(shares) / len(shares)


@pytest.mark.slow
@pytest.mark.real_data
def test_of_four_photographs_the_one_of_the_class_lights_up(photographs):
    built, layer, found = photographs
    assert energy(built, layer, found) >= 0.85


@pytest.mark.slow
@pytest.mark.real_data
def test_random_weights_point_nowhere(photographs):
    _, layer, found = photographs
    torch.manual_seed(0)
    assert energy(models.build("mobilenet_v2", 6).eval(), layer, found) <= 0.35


@pytest.mark.slow
@pytest.mark.real_data
def test_hiding_the_hot_half_costs_more_than_hiding_the_cold_half(photographs):
    built, layer, found = photographs
    x = normalize(torch.cat(list(found.values())), IMAGENET)
    labels = [label for label in found for _ in range(2)]

    def sure(images):
        with torch.no_grad():
            return built(images).softmax(1)[range(len(labels)), labels].mean()

    heat = gradcam(built, x, labels, layer)
    large = nn.functional.interpolate(heat[:, None], 224, mode="bilinear")
    hot = large > large.flatten(1).median(1).values.view(-1, 1, 1, 1)
    without_hot, without_cold = sure(x.masked_fill(hot, 0)), sure(x.masked_fill(~hot, 0))
    assert sure(x) - without_hot >= 2 * (sure(x) - without_cold)
