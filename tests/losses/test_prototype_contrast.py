"""Prototype contrast against its definition, written as loops, and the labels that it keeps between epochs."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from test_trainer import assert_same
from tiny import FACTS, images
from torch import Tensor

from imcswav.check import check_recipe
from imcswav.errors import DataError, RecipeError
from imcswav.learners import Epoch, RecipeFacts, training_only
from imcswav.losses._labels import Labels
from imcswav.losses.prototype_contrast import PrototypeContrast
from imcswav.recipe.files import load_recipe
from imcswav.step import Output, Progress, Step

LATE = Progress(50, 5, 100, 10)
LABELS = [0, 2, 2, 1, 0, 4, 2, 1]  # of five clusters, 3 is absent


def draw(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * scale


def step_of(online_VBD: Tensor, targets_GBD: Tensor, index: list[int] | None = None, global_views: int = 2) -> Step:
    step = Step(global_views=global_views)
    step.index = torch.tensor(index if index is not None else list(range(online_VBD.shape[1])))
    step.outputs["online.projection"] = Output(online_VBD, tuple(range(len(online_VBD))))
    step.outputs["teacher.projection"] = Output(targets_GBD, tuple(range(len(targets_GBD))))
    return step


def loss_with(labels: list[int], keep: list[bool] | None = None, clusters: int = 5, **settings) -> PrototypeContrast:
    """As if k-means had found these labels."""
    loss = PrototypeContrast.create(**settings)
    loss.labels.labels = torch.tensor(labels)
    loss.labels.keep = torch.tensor(keep or [True] * len(labels))
    loss.labels.centres = torch.zeros(clusters, 6)
    loss.prepare(LATE)
    return loss


def unit(values: list) -> list:
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def looped(online_VBD: Tensor, targets_GBD: Tensor, labels: list, tau: float, global_views: int = 2) -> Tensor:
    """``labels`` of the batch's images; None is an image left out."""

    def prototypes(x_BD: Tensor) -> dict[int, list]:
        found = {}
        for k in sorted({label for label in labels if label is not None}):
            rows = [unit(list(row)) for row, label in zip(x_BD, labels, strict=True) if label == k]
            found[k] = unit([sum(column) for column in zip(*rows, strict=True)])
        return found

    def similar(a: list, b: list) -> Tensor:
        return torch.exp(sum(x * y for x, y in zip(a, b, strict=True)) / tau)

    terms = []
    for v in range(global_views):
        for g in range(global_views):
            if v != g:
                ours, theirs = prototypes(online_VBD[v]), prototypes(targets_GBD[g].detach())
                for k, mu in ours.items():
                    positive = similar(mu, theirs[k])
                    negative = sum(similar(mu, other) for j, other in ours.items() if j != k)
                    terms.append(-torch.log(positive / (positive + negative)))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("tau", [0.5, 0.1])
@pytest.mark.parametrize("global_views", [2, 3])
def test_loss_and_gradient_are_the_loop(tau: float, global_views: int) -> None:
    online, targets = draw(4, 8, 6, seed=1).requires_grad_(), draw(global_views, 8, 6, seed=2).requires_grad_()
    index = [7, 3, 1, 0, 5, 6, 2, 4]
    keep = [True] * 7 + [False]
    step = step_of(online, targets, index, global_views)
    value = loss_with(LABELS, keep, temperature=tau)(step)
    apart = online.detach().clone().requires_grad_()
    expected = looped(apart, targets, [LABELS[i] if keep[i] else None for i in index], tau, global_views)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(value, [online, targets], allow_unused=True)
    torch.testing.assert_close(gradients[0], torch.autograd.grad(expected, apart)[0], rtol=1e-9, atol=1e-14)
    assert gradients[1] is None
    assert step.logs["prototype_contrast/clusters"].item() == 4


def test_gradcheck() -> None:
    loss, targets = loss_with(LABELS), draw(2, 8, 6, seed=2)
    online = draw(2, 8, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(step_of(x, targets)), online)


def test_numbers_of_clusters_mean_nothing() -> None:
    step = step_of(draw(2, 8, 6, seed=1), draw(2, 8, 6, seed=2))
    others = [[3, 0, 4, 1, 2][label] for label in LABELS]
    torch.testing.assert_close(loss_with(LABELS)(step), loss_with(others)(step), rtol=1e-12, atol=0)


@pytest.mark.parametrize("labels", [[2] * 8, LABELS])
def test_fewer_than_two_clusters_in_the_batch(labels: list[int]) -> None:
    """One has nothing to be told from; none is there where all images are left out."""
    online = draw(2, 8, 6, seed=1).requires_grad_()
    value = loss_with(labels, keep=[labels[0] == 2] * 8)(step_of(online, draw(2, 8, 6, seed=2)))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert online.grad.abs().max().item() < 1e-12


def test_half_precision_and_autocast() -> None:
    online, targets = draw(2, 8, 6, seed=1), draw(2, 8, 6, seed=2)
    for dtype in (torch.bfloat16, torch.float32):
        given = online.to(dtype), targets.to(dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss_with(LABELS)(step_of(*given))
        assert value.dtype == torch.float32
        expected = loss_with(LABELS)(step_of(given[0].double(), given[1].double()))
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def test_labels_of_a_head() -> None:
    online, targets, logits = draw(2, 8, 6, seed=1), draw(2, 8, 6, seed=2), draw(3, 8, 5, seed=3, scale=3.0)
    loss = PrototypeContrast.create(labels="classifier")
    loss.prepare(LATE)
    step = step_of(online, targets)
    step.index = None
    step.outputs["online.classifier"] = Output(logits, (0, 1, 2))  # the third view is no global one
    labels = []
    for i in range(8):
        chances = [logits[v, i].softmax(0).tolist() for v in range(2)]
        mean = [a + b for a, b in zip(*chances, strict=True)]
        labels.append(mean.index(max(mean)))
    torch.testing.assert_close(loss(step), looped(online, targets, labels, 0.5), rtol=1e-12, atol=0)
    assert training_only(loss) == set()


@pytest.mark.parametrize(
    ("online", "targets", "global_views", "what"),
    [((2, 8, 6), (2, 8, 6), 1, "at least two global crops"), ((2, 8, 6), (2, 8, 5), 2, "width 6, .* 5.*one width")],
)
def test_what_cannot_be_compared_is_told_while_it_is_off(online, targets, global_views, what) -> None:
    step = step_of(draw(*online, seed=1), draw(*targets, seed=2), global_views=global_views)
    with pytest.raises(RecipeError, match=what):
        PrototypeContrast.create()(step)


def test_labels_of_kmeans_need_places() -> None:
    step = step_of(draw(2, 8, 6, seed=1), draw(2, 8, 6, seed=2))
    step.index = None
    with pytest.raises(RecipeError, match="places of a batch's images"):
        loss_with(LABELS)(step)


def directions(count: int = 600, clusters: int = 8, seed: int = 5) -> Tensor:
    centres = draw(clusters, 10, seed=seed)
    rows = centres[torch.arange(count) % clusters] + 0.7 * draw(count, 10, seed=seed + 1)
    return rows * (1 + draw(count, 1, seed=seed + 2).abs())


def inertia(x_ND: Tensor, labels_N: Tensor, clusters: int) -> float:
    rows = [unit(row) for row in x_ND.tolist()]
    total = 0.0
    for k in range(clusters):
        own = [row for row, label in zip(rows, labels_N.tolist(), strict=True) if label == k]
        mean = [math.fsum(column) / len(own) for column in zip(*own, strict=True)]
        total += sum((a - b) ** 2 for row in own for a, b in zip(row, mean, strict=True))
    return total


def test_labels_are_as_good_as_scikit_learn_s() -> None:
    from sklearn.cluster import KMeans

    labels = Labels(0.0)
    for seed in range(3):
        x_ND = directions() + 0.2 * draw(600, 10, seed=40 + seed)  # as features move from epoch to epoch
        labels.make(x_ND, 8, seed)
        assert labels.labels.dtype == torch.int64
        unit_ND = x_ND / x_ND.norm(dim=1, keepdim=True)
        theirs = KMeans(8, n_init=10, random_state=0).fit(unit_ND.numpy()).labels_
        ours, best = (inertia(x_ND, found, 8) for found in (labels.labels, torch.from_numpy(theirs)))
        assert ours <= 1.01 * best


def test_a_bad_labelling_does_not_stay() -> None:
    x_ND = directions()
    labels, fresh = Labels(0.0), Labels(0.0)
    fresh.make(x_ND, 8, seed=1)
    labels.make(x_ND, 8, seed=0)
    labels.centres.copy_(labels.centres[:1].clone())  # all clusters in one place
    labels.make(x_ND, 8, seed=1)
    assert inertia(x_ND, labels.labels, 8) <= 1.001 * inertia(x_ND, fresh.labels, 8)


def test_what_moved_most_is_left_out() -> None:
    labels, before = Labels(0.1), draw(200, 6, seed=1)
    labels.make(before, 4, seed=0)
    assert labels.keep.all()
    assert labels.past.dtype == torch.float16
    places = [getattr(labels, name).data_ptr() for name in ("labels", "keep", "centres", "past")]
    now = before + draw(200, 6, seed=2) * draw(200, 1, seed=3).abs()
    labels.make(3 * now, 4, seed=1)
    past = [unit(torch.tensor(unit(row), dtype=torch.float16).tolist()) for row in before.float().tolist()]
    pairs = zip(map(unit, now.tolist()), past, strict=True)
    cosines = [sum(a * b for a, b in zip(row, old, strict=True)) for row, old in pairs]
    dropped = sorted(range(200), key=lambda i: cosines[i])[:20]
    assert (~labels.keep).nonzero().flatten().tolist() == sorted(dropped)
    # where a recorded step finds them
    assert places == [getattr(labels, name).data_ptr() for name in ("labels", "keep", "centres", "past")]
    labels.make(3 * now, 4, seed=2)  # nothing moved since: not since the first time
    assert (~labels.keep).sum() == 20
    assert (~labels.keep).nonzero().flatten().tolist() != sorted(dropped)


def test_too_few_images_for_the_clusters() -> None:
    with pytest.raises(DataError, match="3 images can't be split into 4 clusters"):
        Labels(0.0).make(draw(3, 6, seed=1), 4, seed=0)


def test_epochs_that_label() -> None:
    seen = []

    def outputs(name: str) -> Tensor:
        seen.append(name)
        return draw(40, 6, seed=len(seen))

    def run(**settings) -> list[int]:
        loss, epochs = PrototypeContrast.create(**settings), []
        for number in range(10):
            seen.clear()
            progress = Progress(number * 5, number, 50, 5)
            loss.start_epoch(Epoch(progress, images(40), seed=number, outputs=outputs, clusters=3))
            epochs += [number] * len(seen)
            loss.prepare(progress)
            assert loss.phase(progress) == loss.on == bool(epochs)
            value = loss(step_of(draw(2, 8, 6, seed=1).requires_grad_(), draw(2, 8, 6, seed=2)))
            assert value.requires_grad is loss.on
            assert loss.on or value.item() == 0
        assert len(loss.labels.centres) == (settings.get("clusters") or 3)
        return epochs

    assert run() == list(range(1, 10))
    assert run(start=0.0, every=4, clusters=5) == [0, 4, 8]
    assert run(start=0.22, every=3, source="teacher.features") == [3, 6, 9]  # step 11, within the third epoch
    assert seen == ["teacher.features"]


def test_a_head_s_labels_begin_at_the_step() -> None:
    loss = PrototypeContrast.create(labels="classifier", start=0.25)
    loss.start_epoch(Epoch(Progress(30, 3, 100, 10), images(8), 0))  # asks for nothing
    found = []
    for number in (0, 24, 25, 99):
        loss.prepare(Progress(number, number // 10, 100, 10))
        found.append(loss.on)
    assert found == [False, False, True, True]


def test_state_is_restored_whatever_its_size() -> None:
    loss, fresh, unlabelled = (PrototypeContrast.create(drop=0.1) for _ in range(3))
    names = {f"labels.{name}" for name in ("labels", "keep", "centres", "past")}
    assert training_only(loss) == names == set(loss.state_dict())
    fresh.load_state_dict(unlabelled.state_dict())  # before the first labelling
    for seed in (1, 2):
        loss.labels.make(draw(40, 6, seed=seed), 3, seed)
    fresh.load_state_dict(loss.state_dict())
    step = step_of(draw(2, 8, 6, seed=1), draw(2, 8, 6, seed=2))
    values = []
    for one in (loss, fresh):
        one.labels.make(draw(40, 6, seed=3), 3, 3)
        one.prepare(LATE)
        values.append(one(step).item())
    assert values[0] == values[1] > 0
    assert_same(loss.state_dict(), fresh.state_dict())


@pytest.mark.parametrize("settings", [{"drop": 0.1}, {"clusters": 4}, {"every": 2}, {"source": "features"}])
def test_a_head_s_labels_take_no_settings_of_kmeans(settings) -> None:
    with pytest.raises(ValidationError, match='is for labels = "kmeans"'):
        PrototypeContrast.create(labels="classifier", **settings)


def problems_of(tiny: dict, **settings) -> list[str]:
    tiny["losses"] = [*tiny["losses"], {"name": "prototype_contrast", **settings}]
    return [f"{problem.severity} {problem.path}: {problem.message}" for problem in check_recipe(load_recipe(tiny))]


def test_check_finds_missing_parts(tiny) -> None:
    found = problems_of(tiny, source="teacher.projektion")
    assert [text.split(":")[0] for text in found] == ["error losses.2.targets", "error losses.2.source"]
    assert all("is a teacher's, and there is none" in text for text in found)


def test_check_knows_labels_that_are_no_head(tiny) -> None:
    tiny["learner"] = {"teacher": {}}
    assert problems_of(tiny) == []
    assert problems_of(tiny, labels="kmean") == ["error losses.3.labels: there is no head 'kmean'."]


def test_check_counts_images_and_epochs(tiny) -> None:
    tiny["learner"] = {"teacher": {}}
    assert problems_of(tiny, clusters=5000, start=0.9) == [
        "error losses.2.clusters: 5000 clusters are more than the 1797 training images.",
        "warning losses.2.start: no epoch begins after that share of the training, so k-means never labels anything.",
    ]
    config = PrototypeContrast.Config()
    facts = RecipeFacts(data=replace(FACTS, images=2), clusters=3, batch_size=2, steps=10)
    assert [problem.path for problem in config.check_recipe(facts)] == ["clusters"]
    assert config.check_recipe(replace(facts, data=replace(FACTS, images=None))) == []
