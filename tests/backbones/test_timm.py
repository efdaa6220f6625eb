import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from pydantic import ValidationError
from torch import nn

from imcswav.backbones._timm_models import quick_when_offline
from imcswav.backbones.timm import Timm
from imcswav.errors import ImcswavError

VIT = {"model": "vit_tiny_patch16_224", "arguments": {"patch_size": 4, "depth": 2}}


def build(channels=3, image_size=32, **settings):
    return Timm.create(channels=channels, image_size=image_size, **settings)


def test_small_stem():
    net = build(model="resnet18", stem="small")
    assert (net.model.conv1.kernel_size, net.model.conv1.stride, net.model.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(net.model.maxpool, nn.Identity)
    assert net.features == 512
    assert net.model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)
    # timm's 11,689,512 without its classifier (513,000), and a 3×3 instead of a 7×7 convolution
    assert sum(p.numel() for p in net.parameters()) == 11_689_512 - 513_000 - 64 * 3 * (49 - 9)
    assert all(part.training for part in net.modules())


def test_pooling_and_imagenet_stems():
    pooled = build(model="resnet18", stem="small_pool")
    assert pooled.model.forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 4, 4)
    imagenet = build(model="resnet18")
    assert imagenet.model.conv1.kernel_size == (7, 7)
    assert imagenet.model.forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


@pytest.mark.parametrize(
    ("model", "side", "convolution", "bias"),
    [
        ("convnext_atto", 4, "stem.0", True),  # 4×4 patches before
        ("efficientnet_b0", 2, "conv_stem", False),
        ("regnetx_002", 2, "stem.conv", False),
        ("resnet10t", 4, "conv1.0", False),  # three convolutions before its pooling
    ],
)
def test_small_stem_of_other_families(model, side, convolution, bias):
    net = build(model=model, stem="small").model
    assert net.forward_features(torch.zeros(2, 3, 32, 32)).shape[2:] == (side, side)
    first = net.get_submodule(convolution)
    assert (first.kernel_size, first.stride, first.bias is not None) == ((3, 3), (1, 1), bias)


@pytest.mark.parametrize(
    ("model", "stem", "words"),
    [
        ("swin_tiny_patch4_window7_224", "small", "arguments = { patch_size = 4 }"),
        ("repvgg_a0", "small", "repvgg_a0 doesn't begin with one of a larger stride; use stem = 'imagenet'"),
        ("vgg11_bn", "small", "use stem = 'imagenet'"),
        ("convnext_atto", "small_pool", "convnext_atto has no pooling in its stem; use 'small'"),
    ],
)
def test_stems_that_a_model_cannot_have(model, stem, words):
    (problem,) = Timm.Config(model=model, stem=stem).check_sizes([32], 3)
    assert problem.path == "stem"
    assert words in problem.message


@pytest.mark.parametrize(
    ("model", "sizes", "words"),
    [
        ("convnext_atto", [32, 28, 18], "18 × 18 or 28 × 28 px, the smallest size that fits is 32 ("),
        ("vgg11_bn", [64, 24], "24 × 24 px, the smallest size that fits is 32 ("),
        ("swin_tiny_patch4_window7_224", [32, 18], "18 × 18 px, the smallest size that fits is 20 ("),
        ("crossvit_tiny_240", [32], "none up to 512 fits ("),
    ],
)
def test_sizes_that_are_too_small_are_refused_with_one_that_fits(model, sizes, words, monkeypatch):
    monkeypatch.setattr("imcswav.backbones._timm_models.COARSE", 16 if "none" not in words else 120)
    (problem,) = Timm.Config(model=model).check_sizes(sizes, 3)
    assert words in problem.message
    assert problem.path == "model"


def test_depths_are_timms_own():
    depths = build(**VIT).depths()
    names = {f"model.{name}" for name, _ in build(**VIT).model.named_parameters()}
    assert depths.keys() == names
    assert (depths["model.pos_embed"], depths["model.blocks.0.norm1.weight"], depths["model.norm.weight"]) == (0, 1, 2)
    assert build(model="poolformer_s12").depths() == {}  # timm doesn't number its layers


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(channels):
    net = build(model="resnet18", stem="small", channels=channels)
    assert net(torch.zeros(2, channels, 16, 16)).shape == (2, net.features)


def test_new_convolution_starts_with_kaiming_fan_out():
    torch.manual_seed(0)
    weight = build(model="resnet18", stem="small").model.conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.06)


@pytest.mark.parametrize("zero", [True, False])
def test_arguments_reach_the_model(zero):
    net = build(model="resnet18", arguments={"zero_init_last": zero})
    assert bool((net.model.layer1[0].bn2.weight == 0).all()) is zero


def test_building_leaves_batch_statistics_alone():
    net = build(model="test_resnet")
    assert all((layer.running_mean == 0).all() for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))


def test_vision_transformer_takes_crops_smaller_than_the_image():
    assert Timm.Config(**VIT).check_sizes([28, 18, 32], 3) == []
    net = build(**VIT)
    assert len(net.model.blocks) == 2
    for size in (32, 28, 18):
        assert net(torch.randn(2, 3, size, size)).shape == (2, 192)


def test_models_that_know_no_dynamic_size():
    name = "mixer_s32_224"
    assert Timm.Config(model=name).check_sizes([64], 3) == []
    (problem,) = Timm.Config(model=name).check_sizes([64, 32], 3)
    assert problem.message.startswith("mixer_s32_224 can't take images of 32 × 32 px")
    assert problem.path == "model"


def test_unknown_names():
    with pytest.raises(ValidationError, match=r"no model 'resnet81'. Did you mean 'resnet18'\?"):
        Timm.Config(model="resnet81")
    with pytest.raises(ValidationError, match=r"no model 'qqqzzz'. .*--filter '\*'` lists them"):
        Timm.Config(model="qqqzzz")
    with pytest.raises(ValidationError, match="give pretrained or weights, not both"):
        Timm.Config(pretrained=True, weights="w.pt")
    (problem,) = Timm.Config(model="resnet18.no_such_tag").check_sizes([32], 3)
    assert "no_such_tag" in problem.message


def test_problems_before_building():
    (problem,) = Timm.Config(**VIT, stem="small").check_sizes([32], 3)
    assert problem.path == "stem"
    assert "use stem = 'imagenet' and set the patches' size, such as arguments = { patch_size = 4 }" in problem.message
    (problem,) = Timm.Config(model="resnet18", arguments={"widht": 3}).check_sizes([32], 3)
    assert problem.path == "arguments"
    assert str(problem).endswith(
        "takes no argument 'widht'. Remove it, for instance with --set backbone.arguments.widht=null."
    )
    (problem,) = Timm.Config(model="resnet18", arguments={"output_stride": 7}).check_sizes([32], 3)
    assert "resnet18 can't be built" in problem.message
    (problem,) = Timm.Config(model="resnet18", arguments={"global_pool": ""}).check_sizes([32], 3)
    assert "(2, 512, 1, 1), not (images, features)" in problem.message
    (problem,) = Timm.Config(weights="/no/such/file.pt").check_sizes([32], 3)
    assert problem.path == "weights"


def test_pretrained_without_network_is_one_sentence(monkeypatch):
    def create(name, pretrained, **arguments):
        assert pretrained
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: NoNetwork())
    with pytest.raises(ImcswavError, match=r"weights of resnet18 can't be had .the hub .*backbone\.weights") as caught:
        build(model="resnet18", pretrained=True)
    assert "huggingface.co/timm/resnet18." in str(caught.value)


class NoNetwork:
    """A session of the hub's client whose requests fail."""

    asked = 0

    def head(self, *arguments, **options):
        NoNetwork.asked += 1
        raise ConnectionError("no network")


@pytest.mark.parametrize("reachable", [True, False])
def test_without_network_the_hub_is_asked_once_and_the_client_told(monkeypatch, reachable):
    class Network(NoNetwork):
        def head(self, *arguments, **options):
            assert options["timeout"] == constants.HF_HUB_ETAG_TIMEOUT

    offline = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Network if reachable else NoNetwork)
    create = timm.create_model

    def note(name, pretrained, **arguments):
        offline.append(constants.HF_HUB_OFFLINE)
        return create(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", note)
    build(model="test_resnet", pretrained=True)
    assert offline == [not reachable]
    assert constants.HF_HUB_OFFLINE is False


def test_offline_by_choice_asks_nobody(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "get_session", NoNetwork)
    NoNetwork.asked = 0
    with quick_when_offline() as reachable:
        assert not reachable
    assert NoNetwork.asked == 0
    assert constants.HF_HUB_OFFLINE is True


def test_pretrained_asks_timm_for_weights(monkeypatch):
    calls, create_model = [], timm.create_model

    def create(name, pretrained, **arguments):
        calls.append((name, pretrained))
        return create_model(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(huggingface_hub, "get_session", NoNetwork)
    assert build(model="test_resnet", pretrained=True).features
    assert calls == [("test_resnet", True)]


def test_a_model_without_pretrained_weights(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_session", NoNetwork)
    name = next(n for n in timm.list_models("vit_*") if not timm.models.get_pretrained_cfg(n).has_weights)
    with pytest.raises(ImcswavError, match="No pretrained weights exist"):
        build(model=name, pretrained=True, arguments={"depth": 1})
