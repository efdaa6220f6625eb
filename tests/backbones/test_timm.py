import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

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
    with pytest.raises(ValidationError, match=r"no model 'qqqzzz'. timm.list_models\(\) lists them"):
        Timm.Config(model="qqqzzz")
    with pytest.raises(ValidationError, match="give pretrained or weights, not both"):
        Timm.Config(pretrained=True, weights="w.pt")
    (problem,) = Timm.Config(model="resnet18.no_such_tag").check_sizes([32], 3)
    assert "no_such_tag" in problem.message


def test_problems_before_building():
    (problem,) = Timm.Config(**VIT, stem="small").check_sizes([32], 3)
    assert problem.path == "stem"
    assert "vit_tiny_patch16_224 hasn't; use stem = 'imagenet'" in problem.message
    (problem,) = Timm.Config(model="inception_v3").check_sizes([64, 224], 3)
    assert "64 × 64 px" in problem.message
    (problem,) = Timm.Config(model="resnet18", arguments={"widht": 3}).check_sizes([32], 3)
    assert "can't be built" in problem.message
    assert "widht" in problem.message
    (problem,) = Timm.Config(model="resnet18", arguments={"global_pool": ""}).check_sizes([32], 3)
    assert "(2, 512, 1, 1), not (images, features)" in problem.message
    (problem,) = Timm.Config(weights="/no/such/file.pt").check_sizes([32], 3)
    assert problem.path == "weights"


@pytest.mark.parametrize("form", ["safetensors", "pt", "nested pt"])
def test_weights_from_a_file(tmp_path, form):
    torch.manual_seed(1)
    state = build(model="test_resnet").model.state_dict()
    path = tmp_path / f"weights.{form.split()[-1]}"
    match form:
        case "safetensors":
            save_file(state, path)
        case "pt":
            torch.save(state, path)
        case _:
            torch.save({"state_dict": state | {"fc.bias": torch.zeros(3)}}, path)
    torch.manual_seed(2)
    net = build(model="test_resnet", weights=path)
    assert all(torch.equal(value, state[name]) for name, value in net.model.state_dict().items())
    assert Timm.Config(model="test_resnet", weights=path).restored() == Timm.Config(model="test_resnet")


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"something": torch.zeros(2)}, path)
    with pytest.raises(ImcswavError, match=r"lack \d+ of the model's tensors .*give a file of the same model"):
        build(model="test_resnet", weights=path)
    torch.save(build(model="test_resnet", channels=1).model.state_dict(), path)
    with pytest.raises(ImcswavError, match=r"can't be loaded into this model .*size mismatch") as caught:
        build(model="test_resnet", weights=path)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"no weights")
    with pytest.raises(ImcswavError, match="can't be loaded into this model"):
        build(model="test_resnet", weights=path)
    with pytest.raises(ImcswavError, match="can't be loaded into this model"):
        build(model="test_resnet", weights=tmp_path / "missing.safetensors")


def test_pretrained_without_network_is_one_sentence(monkeypatch):
    def create(name, pretrained, **arguments):
        assert pretrained
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ImcswavError, match=r"weights of resnet18 can't be had .*backbone\.weights"):
        build(model="resnet18", pretrained=True)


def test_pretrained_asks_timm_for_weights(monkeypatch):
    calls, create_model = [], timm.create_model

    def create(name, pretrained, **arguments):
        calls.append((name, pretrained))
        return create_model(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    assert build(model="test_resnet", pretrained=True).features
    assert calls == [("test_resnet", True)]


def test_a_model_without_pretrained_weights():
    name = next(n for n in timm.list_models("vit_*") if not timm.models.get_pretrained_cfg(n).has_weights)
    with pytest.raises(ImcswavError, match="No pretrained weights exist"):
        build(model=name, pretrained=True, arguments={"depth": 1})
