"""Learning from one's own labels, against plain loops in float64."""

import dataclasses
import math

import pytest
import torch
from test_engine import Replayer, engine, train
from tiny import SETTINGS, learner, settings
from torch import Tensor

from imcswav.errors import RecipeError
from imcswav.learners import RecipeFacts
from imcswav.losses.self_label import SelfLabel, choose
from imcswav.step import Output, Step

STRONG = {"name": "strong", "size": 10, "count": 2, "operations": 2}
HEADS = SETTINGS["heads"] | {"classifier": SETTINGS["heads"]["classifier"] | {"detach": False}}
STAGE = {
    "views": STRONG, "heads": HEADS, "teacher": {"momentum": 0.9},
    "losses": [{"name": "self_label"}, {"name": "swav", "weight": 0.1}, {"name": "imc", "weight": 0.1}],
}  # fmt: skip


def draw(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def step_of(weak_GBK: Tensor, strong_SBK: Tensor) -> Step:
    """As the learner makes it: the teacher sees the global views, the classifier all, the global ones first."""
    views = len(weak_GBK)
    step = Step(global_views=views)
    step.outputs["teacher.classifier"] = Output(weak_GBK, tuple(range(views)))
    step.outputs["online.classifier"] = Output(
        torch.cat([torch.zeros_like(weak_GBK), strong_SBK]), tuple(range(views + len(strong_SBK)))
    )
    return step


def chosen_by_loops(chances: list[list[float]], quota: int) -> dict[int, int]:
    """The label of each chosen image."""
    claims: dict[int, list[tuple[bool, float, int]]] = {}
    for k in range(len(chances[0])):
        order = sorted(range(len(chances)), key=lambda i: -chances[i][k])[:quota]
        number = max(1, math.ceil(quota * sum(chances[i][k] for i in order) / quota))
        for rank, i in enumerate(order[:number]):
            claims.setdefault(i, []).append((rank == 0, chances[i][k], k))
    return {i: max(several)[2] for i, several in claims.items()}


def looped(weak: Tensor, strong: Tensor, quota: int, entropy_weight: float) -> tuple[float, dict[int, int]]:
    views, images, clusters = strong.shape
    mean_of_weak = [
        [sum(view[i].softmax(0)[k].item() for view in weak) / len(weak) for k in range(clusters)] for i in range(images)
    ]
    labels = chosen_by_loops(mean_of_weak, quota)
    p = [[strong[v][i].softmax(0).tolist() for i in range(images)] for v in range(views)]
    error = sum(-math.log(p[v][i][k]) for v in range(views) for i, k in labels.items()) / (views * len(labels))
    mean = [sum(p[v][i][k] for v in range(views) for i in range(images)) / (views * images) for k in range(clusters)]
    return error + entropy_weight * (math.log(clusters) + sum(m * math.log(m) for m in mean)), labels


@pytest.mark.parametrize(("clusters", "ratio", "quota"), [(4, 0.5, 3), (4, 1.0, 6), (7, 0.4, 1), (3, 0.9, 7)])
@pytest.mark.parametrize("views", [1, 2])
def test_equals_plain_loops(clusters, ratio, quota, views):
    several = 0
    for seed in range(5):
        weak, strong = draw(views, 24, clusters, seed=seed), draw(2, 24, clusters, seed=100 + seed)
        step = step_of(weak, strong)
        loss = SelfLabel.create(ratio=ratio, entropy_weight=0.7)
        assert loss.config.quota(24, clusters) == quota
        expected, labels = looped(weak, strong, quota, 0.7)
        assert loss(step).item() == pytest.approx(expected, rel=1e-12)
        counts = [list(labels.values()).count(k) / len(labels) for k in range(clusters)]
        entropy = -sum(share * math.log(share) for share in counts if share)
        assert step.logs["self_label/chosen"].item() == pytest.approx(len(labels) / 24)
        assert step.logs["self_label/chosen_clusters"].item() == pytest.approx(math.exp(entropy))
        several += len(set(labels.values()))
    assert several > clusters


def test_an_image_of_several_clusters_counts_once():
    # image 0 is the second choice of cluster 1 and the first of cluster 0; image 2 the second of 0 and of 1
    chances = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.0, 0.1, 0.9]]).double()
    label, chosen = choose(chances, 3)
    expected = chosen_by_loops(chances.tolist(), 3)
    assert {i: label[i].item() for i in range(4) if chosen[i]} == expected == {0: 0, 1: 1, 2: 0, 3: 2}
    # a first choice goes before a larger probability of another cluster
    chances = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05]]).double()
    label, chosen = choose(chances, 3)
    assert (label.tolist(), chosen.tolist()) == ([0, 1, 0], [1, 1, 1])


def test_a_class_that_is_never_the_most_probable_keeps_its_images():
    weak = draw(1, 40, 4, seed=1, scale=0.2)
    weak[0, torch.arange(40), torch.arange(40) % 3] += 6.0  # surely one of the first three
    weak[0, :, 3] -= 2.0
    chances = weak[0].softmax(-1)
    assert not (chances.argmax(-1) == 3).any()
    assert (chances.max(-1).values > 0.9).all()  # a threshold would leave the fourth nothing
    for quota in (1, 3, 10, 40):
        label, chosen = choose(chances, quota)
        assert set(label[chosen.bool()].tolist()) == {0, 1, 2, 3}
    strong = draw(2, 40, 4, seed=2).requires_grad_()
    SelfLabel.create(entropy_weight=0.0)(step_of(weak, strong)).backward()
    assert (strong.grad[..., 3] < 0).sum() == 2  # an image, in both views


def test_gradients_are_the_strong_views_alone():
    weak, strong = draw(1, 12, 3, seed=1).requires_grad_(), draw(2, 12, 3, seed=2).requires_grad_()
    online = torch.cat([draw(1, 12, 3, seed=3), strong])
    online.retain_grad()
    step = step_of(weak, strong)
    step.outputs["online.classifier"] = Output(online, (0, 1, 2))
    loss = SelfLabel.create(ratio=0.25, entropy_weight=0.0)
    loss(step).backward()
    assert weak.grad is None
    assert not online.grad[0].any()
    _, chosen = choose(weak.detach()[0].softmax(-1), 1)
    assert 0 < chosen.sum() < 12
    assert torch.equal(strong.grad.abs().sum(-1) > 0, chosen.bool().expand(2, -1))
    assert torch.autograd.gradcheck(lambda x: SelfLabel.create()(step_of(weak, x)), strong)


def test_entropy_term():
    weak = draw(1, 12, 3, seed=1)
    uniform, one = torch.zeros(2, 12, 3).double(), torch.zeros(2, 12, 3).double()
    one[..., 0] = 50.0
    for strong, lacking, clusters in ((uniform, 0.0, 3.0), (one, math.log(3), 1.0)):
        step = step_of(weak, strong)
        without, with_it = (SelfLabel.create(entropy_weight=weight)(step) for weight in (0.0, 2.0))
        assert (with_it - without).item() == pytest.approx(2 * lacking, abs=1e-9)
        assert step.logs["self_label/effective_clusters"].item() == pytest.approx(clusters)


def test_half_precision_is_computed_in_single():
    weak, strong = draw(1, 12, 3, seed=1), draw(2, 12, 3, seed=2)
    value = SelfLabel.create()(step_of(weak.bfloat16(), strong.bfloat16()))
    expected = SelfLabel.create()(step_of(weak.bfloat16().double(), strong.bfloat16().double()))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_problems():
    facts = RecipeFacts(data=None, clusters=10, batch_size=64)
    assert settings(**STAGE).check_recipe(facts) == []
    sparse = STAGE | {"losses": [{"name": "self_label", "ratio": 0.05}]}
    (problem,) = settings(**sparse).check_recipe(facts)
    assert (problem.path, problem.severity) == ("losses.0.ratio", "error")
    assert problem.remedy == "Raise it, or take batches of at least 100 images."
    assert SelfLabel.Config(ratio=0.05).check_recipe(dataclasses.replace(facts, batch_size=100)) == []
    few = step_of(draw(1, 2, 3, seed=1), draw(1, 2, 3, seed=2))  # as the two images that a recipe's cost is told by
    assert SelfLabel.create(ratio=0.05)(few).isfinite()
    with pytest.raises(RecipeError, match="it learns from global views for the others"):
        SelfLabel.create()(step_of(draw(2, 12, 3, seed=1), draw(0, 12, 3, seed=2)))


def test_replayed_steps_equal_eager_ones():
    recorder = Replayer()
    plain, replayed = engine(learner(**STAGE)), engine(learner(**STAGE), recorder)
    assert train(plain) == train(replayed)
    assert replayed.notes == []
    assert (len(recorder.recorded), recorder.eager) == (1, 3)
    for value, other in zip(plain.learner.state_dict().values(), replayed.learner.state_dict().values(), strict=True):
        assert torch.equal(value, other)
