"""The autoencoder and the loss against plain loops; each wrong path or weight would give another number."""

import depict_loops as reference
import pytest
import torch
from imcswav_depict import Depict
from imcswav_depict.autoencoder import Autoencoder, dropout
from small import batch, learner

from imcswav.data import Batch, DataFacts
from imcswav.step import Progress

NOW = Progress(0, 0, 10, 5)
DROPOUT = (0.3, 0.2, 0.4)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [8, 9, 12, 15])
def test_the_way_back_has_every_layers_shape(kernel, size):
    network = Autoencoder(2, size, (3, 4), kernel, 5)
    seen, code_NF = network.encode(torch.zeros(1, 2, size, size))
    assert code_NF.shape == (1, 5)
    assert [layer.shape for layer in network.drawn(code_NF)] == [layer.shape for layer in seen]


def tiny(kernel, **changes):
    torch.manual_seed(0)
    one = Depict.create(
        channels=(2, 3), kernel=kernel, features=3, dropout=DROPOUT, **changes, facts=DataFacts(4, 2, 5), clusters=2
    )
    with torch.no_grad():
        for weight in one.parameters():
            weight.mul_(3)  # so that every part of the loss is felt
    generator = torch.Generator().manual_seed(2)
    return one.double(), Batch(
        torch.randint(0, 256, (4, 2, 5, 5), generator=generator).byte(), torch.tensor([3, 0, 2, 1])
    )


def expected(one, shown, seed, **changes):
    network = {name: value.detach().double().numpy() for name, value in one.autoencoder.state_dict().items()}
    head = {name: value.detach().numpy() for name, value in one.head.state_dict().items()}
    noise = dropout(DROPOUT, seed, shown.index)
    x = shown.images.double()
    shapes = [layer.shape for layer in one.autoencoder.encode(x)[0]]
    masks = [noise(torch.ones(shape, dtype=torch.float64), layer).numpy() for layer, shape in enumerate(shapes)]
    pad = (one.config.kernel - 1) // 2
    return reference.loss(
        network, head, x.numpy(), masks, pad, **({"hidden_weight": one.config.hidden_weight} | changes)
    )


@pytest.mark.parametrize("kernel", [3, 4])
def test_reconstruction(kernel):
    one, shown = tiny(kernel)
    with torch.no_grad():
        found = one(shown, NOW, 7)["loss"].item()
    assert found == pytest.approx(expected(one, shown, 7), rel=1e-6)
    for wrong in ({"decoded": "clean"}, {"target": "noisy"}, {"hidden_weight": 0.0}, {"hidden_weight": 1.0}):
        assert found != pytest.approx(expected(one, shown, 7, **wrong), rel=1e-3), wrong


def test_clustering():
    one, shown = tiny(3, cluster_weight=2.0)
    q_NK = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]).double()
    one.stages.targets = q_NK
    found = one(shown, NOW, 7)
    rows = q_NK[shown.index].numpy()
    assert found["loss"].item() == pytest.approx(expected(one, shown, 7, q=rows, cluster_weight=2.0), rel=1e-6)
    parts = found["loss/reconstruction"] + 2 * found["loss/clustering"]
    assert parts.item() == pytest.approx(found["loss"].item())
    for wrong in ({"q": q_NK.numpy()}, {"q": rows, "cluster_weight": 1.0}, {"q": rows, "decoded": "clean"}):
        assert found["loss"].item() != pytest.approx(expected(one, shown, 7, **wrong), rel=1e-3), wrong


def test_dropout_hangs_on_seed_and_image_alone():
    x = torch.ones(6, 3, 4, 4)
    index = torch.tensor([5, 9, 0, 7, 1, 3])
    whole = dropout((0.25,), 1, index)(x, 0)
    assert torch.equal(dropout((0.25,), torch.tensor(1), index[2:])(x[2:], 0), whole[2:])  # the seed as a tensor, too
    assert not torch.equal(dropout((0.25,), 2, index)(x, 0), whole)
    assert not torch.equal(dropout((0.25, 0.25), 1, index)(x, 1), whole)
    assert whole.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    wide = dropout((0.25,), 1, torch.arange(50))(torch.ones(50, 1, 20, 20), 0)
    assert (wide == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropout((0.0,), 1, index)(x, 0) is x


def test_the_gradient_goes_into_the_clean_layers_too():
    """As in the authors' program: with the noisy code cut off, the encoder still hears the hidden layers' targets."""

    def gradient(hidden_weight):
        one = learner(hidden_weight=hidden_weight)
        inner = one.autoencoder.drawn
        one.autoencoder.drawn = lambda code_NF: inner(code_NF.detach())
        one(batch(), NOW, 1)["loss"].backward()
        return one.autoencoder.down[0].weight.grad

    assert gradient(0.1).abs().sum() > 0
    assert gradient(0.0) is None or gradient(0.0).abs().sum() == 0


def test_gradients_are_the_losss():
    one, shown = tiny(3)
    one.stages.targets = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]).double()
    weight = one.autoencoder.down[1].weight
    one(shown, NOW, 7)["loss"].backward()
    slope, step = weight.grad[1, 0, 2, 1].item(), 1e-3
    q = one.stages.targets[shown.index].numpy()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 0, 2, 1] += sign * step
        values.append(expected(one, shown, 7, q=q))
        with torch.no_grad():
            weight[1, 0, 2, 1] -= sign * step
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3)
