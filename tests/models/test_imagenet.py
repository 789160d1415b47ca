"""Published networks with their own head, and what folders of ImageNet's classes are called."""

import pytest
import torch
from torchvision import models as zoo

from ignite_vision.errors import UserError
from ignite_vision.models import imagenet

NAME = "torchvision:squeezenet1_1"


@pytest.fixture
def weights(tmp_path):
    """Return a function that saves a network's weights, of any number of classes: the network and the path."""

    def save(num_classes=1000):
        torch.manual_seed(0)
        network = zoo.get_model("squeezenet1_1", num_classes=num_classes).eval()
        torch.save(network.state_dict(), tmp_path / f"{num_classes}.pth")
        return network, str(tmp_path / f"{num_classes}.pth")

    return save


def test_there_are_a_thousand_synsets_in_order_each_with_a_name_of_its_own():
    assert len(set(imagenet.synsets())) == len(set(imagenet.classes())) == 1000
    assert list(imagenet.synsets()) == sorted(imagenet.synsets())
    known = {
        "n01440764": "tench",
        "n02099601": "golden retriever",
        "n03888257": "parachute",
        "n15075141": "toilet tissue",
    }
    for synset, name in known.items():
        assert imagenet.classes()[imagenet.synsets().index(synset)] == name


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        *(
            ("n01440764", 0),
            ("tench", 0),
            ("Golden_Retriever", 207),
            ("golden-retriever", 207),
            ("great  grey owl", 24),
        ),
        *(("n02099601-golden_retriever", 207), ("n02085620-Chihuahua", 151), ("n00000000", None), ("n014407640", None)),
        *(("", None), ("retriever", None), ("Shih-Tzu", 155), ("great  grey owl", 24)),
    ],
)
def test_a_folder_is_named_by_synset_or_class(folder, label):
    assert imagenet.label_of(folder) == label


def test_a_network_has_all_of_its_weights(weights):
    expected, path = weights()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert imagenet.network(NAME, path)(images).equal(expected(images))


def test_weights_for_other_classes_are_refused(weights):
    with pytest.raises(UserError, match="have no head for the 1,000 classes of ImageNet"):
        imagenet.network(NAME, weights(10)[1])
    with pytest.raises(UserError, match="no head together"):
        imagenet.network("towers:mobilenet_v2+squeezenet1_0", "DEFAULT")


def test_what_its_images_are_is_known(weights):
    assert imagenet.preprocessing(NAME, weights()[1]).crop == 224
    with pytest.raises(UserError, match="not known what images ignite_vision:digits_cnn"):
        imagenet.preprocessing("ignite_vision:digits_cnn", "DEFAULT")
