"""Codes from a teacher and from a queue, against loops over views, images and prototypes."""

import pytest
import torch
from tiny import SETTINGS, settings
from torch import Tensor, nn

from imcswav.data import DataFacts
from imcswav.errors import RecipeError
from imcswav.heads.prototypes import Prototypes
from imcswav.learners import RecipeFacts, training_only
from imcswav.losses._queue import Queue
from imcswav.losses.swav import SwAV
from imcswav.step import Output, Progress, Step

VIEWS, BATCH, WIDTH, COUNT = 3, 4, 5, 6


def head(seed: int) -> Prototypes:
    torch.manual_seed(seed)
    return Prototypes.create(in_features=WIDTH, clusters=2, count=COUNT, input="projection").double()


def draw(views: int, seed: int, images: int = BATCH) -> Tensor:
    return torch.randn(views, images, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step_of(online: Prototypes, teacher: Prototypes, number: int, images: int = BATCH) -> Step:
    """Online outputs of three views, the teacher's of the two global ones."""
    step = Step(global_views=2, heads={"online.prototypes": online, "teacher.prototypes": teacher})
    for branch, module, views in (("online", online, VIEWS), ("teacher", teacher, 2)):
        x_VBD = draw(views, 10 * number + views, images)
        step.outputs[f"{branch}.projection"] = Output(x_VBD, tuple(range(views)))
        step.outputs[f"{branch}.prototypes"] = Output(module(x_VBD), tuple(range(views)))
    return step


def cosines(x_BD: Tensor, module: Prototypes) -> Tensor:
    rows = []
    for x_D in x_BD:
        rows.append(torch.stack([(x_D * w_D).sum() / x_D.norm() for w_D in module.weight.detach()]))
    return torch.stack(rows)


def sinkhorn(scores_BP: Tensor, epsilon: float = 0.05) -> Tensor:
    """Every prototype 1 / P of the mass, then every image 1 / B, three times; rows sum to 1."""
    mass_BP = (scores_BP / epsilon).exp()
    images, prototypes = mass_BP.shape
    for _ in range(3):
        for p in range(prototypes):
            mass_BP[:, p] /= mass_BP[:, p].sum() * prototypes
        for b in range(images):
            mass_BP[b] /= mass_BP[b].sum() * images
    return mass_BP * images


def swapped(scores_VBP: Tensor, codes_GBP: list[Tensor], temperature: float = 0.1) -> Tensor:
    terms = []
    for g, codes_BP in enumerate(codes_GBP):
        for v, scores_BP in enumerate(scores_VBP):
            for q_P, u_P in zip(codes_BP, scores_BP, strict=True):
                if v != g:
                    exps_P = (u_P / temperature).exp()
                    terms.append(-(q_P * (exps_P / exps_P.sum()).log()).sum())
    return torch.stack(terms).mean()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_codes_of_a_teacher() -> None:
    online, teacher = head(1), head(2)
    step = step_of(online, teacher, 1)
    value = SwAV.create(codes="teacher.prototypes")(step)
    codes = [sinkhorn(cosines(z_BD, teacher)) for z_BD in step["teacher.projection"]]
    scores_VBP = torch.stack([cosines(x_BD, online) for x_BD in step["projection"]])
    close(value, swapped(scores_VBP, codes))
    gradients = torch.autograd.grad(value, (online.weight, teacher.weight), allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None
    assert (value - SwAV.create()(step)).abs() > 1e-3  # its own scores give other codes


@pytest.mark.parametrize("branch", ["online", "teacher"])
def test_codes_are_balanced_over_batch_and_queue(branch: str) -> None:
    """A queue of 6 and batches of 4: full after the second, of which and of the first it then has the newest 6."""
    loss = SwAV.create(queue=6, codes=None if branch == "online" else "teacher.prototypes")
    modules = {"online": head(1), "teacher": head(2)}
    past: list[list[Tensor]] = [[], []]
    for number in range(4):
        with torch.no_grad():  # prototypes move between steps: old embeddings are scored by the new ones
            for module in modules.values():
                module.weight.copy_(head(20 + number).weight + 0.5 * module.weight)
                module.before_step(Progress(number, 0, 9, 9))
        step = step_of(modules["online"], modules["teacher"], number)
        loss.prepare(Progress(number, 0, 9, 9))
        assert loss.phase(Progress(number, 0, 9, 9)) == (True, number >= 2)
        codes = []
        for view in range(2):
            z_BD, held = step[f"{branch}.projection"][view], past[view][-6:] if number >= 2 else []
            rows_MD = torch.stack([*z_BD, *held])
            codes.append(sinkhorn(cosines(rows_MD, modules[branch]))[:BATCH])
            past[view] += list(z_BD)
        scores_VBP = torch.stack([cosines(x_BD, modules["online"]) for x_BD in step["projection"]])
        close(loss(step), swapped(scores_VBP, codes))


def test_the_last_rows_of_the_concatenation_are_the_codes() -> None:
    """To 1e-6 Sinkhorn on the queue and the batch behind it; without the queue they are other ones."""
    module, loss = head(1), SwAV.create(queue=BATCH)
    for number in range(2):
        loss.prepare(Progress(number, 0, 9, 9))
        step = step_of(module, head(2), number)
        codes_GBP = loss._codes(step, step.output("prototypes"), [0, 1])
    for view in range(2):
        held_BD, z_BD = draw(VIEWS, VIEWS)[view], step["projection"][view]
        expected = sinkhorn(cosines(torch.cat([held_BD, z_BD]), module))[-BATCH:]
        assert (codes_GBP[view] - expected).abs().max() < 1e-6
        assert (codes_GBP[view] - sinkhorn(cosines(z_BD, module))).abs().max() > 1e-2


def test_the_queue_fills_from_its_first_epoch_on() -> None:
    """Three steps an epoch, room for two batches: nothing in the first epoch, in use from the third step after it."""
    loss, module = SwAV.create(queue=2 * BATCH, queue_start=1), head(1)
    assert loss.queue is not None
    phases, held = [], []
    for number in range(7):
        progress = Progress(number, number // 3, 9, 3)
        loss.prepare(progress)
        phases.append(loss.phase(progress))
        loss(step_of(module, head(2), number))
        held.append(int(loss.queue.pushed))
    assert phases == [(False, False)] * 3 + [(True, False)] * 2 + [(True, True)] * 2
    assert held == [0, 0, 0, 4, 8, 12, 16]
    assert torch.equal(loss.queue.rows[:, :BATCH], draw(VIEWS, 50 + VIEWS)[:2])  # of step 5; step 6 lies behind
    assert SwAV.create().phase(Progress(0, 0, 9, 3)) is None


def filled(size: int, batches: list[int]) -> tuple[Queue, list[Tensor], list[bool]]:
    queue, past, full = Queue(size), [], []
    for number, images in enumerate(batches):
        queue.prepare(Progress(number, 0, 9, 9))
        full.append(queue.held() is not None)
        x_GBD = draw(2, number, images)
        queue.push(x_GBD)
        past += list(x_GBD.unbind(1))
    return queue, past, full


@pytest.mark.parametrize(
    ("size", "batches", "full"),
    [
        (6, [4, 4, 4], [False, False, True]),
        (8, [4, 4, 4], [False, False, True]),
        (3, [4, 4, 4], [False, True, True]),  # a batch is more than the queue
        (5, [13, 13], [False, True]),
    ],
)
def test_the_queue_is_a_ring_of_the_newest(size: int, batches: list[int], full: list[bool]) -> None:
    queue, past, found = filled(size, batches)
    assert found == full
    total = len(past)
    assert int(queue.pushed) == total
    for age in range(1, size + 1):  # the newest stands where the count has come to, the oldest is next to go
        assert torch.equal(queue.rows[:, (total - age) % size], past[-age])


def test_rows_not_filled_yet_are_not_used() -> None:
    queue, past, _ = filled(9, [4, 4])
    assert queue.held() is None
    assert torch.equal(queue.rows[:, :8], torch.stack(past, 1))
    assert not queue.rows[:, 8:].any()


@pytest.mark.parametrize("before", [1, 3])
def test_a_loaded_queue_goes_on_where_it_was(before: int) -> None:
    whole, _, full = filled(6, [4] * 5)
    saved, _, _ = filled(6, [4] * before)
    other = Queue(6)
    other.prepare(Progress(5, 0, 9, 9))  # what it has counted itself is forgotten
    other.load_state_dict(saved.state_dict())
    for number in range(before, 5):
        other.prepare(Progress(number, 0, 9, 9))
        assert other.full is full[number]
        other.push(draw(2, number))
    assert torch.equal(other.rows, whole.rows)
    empty = Queue(6)
    empty.load_state_dict(Queue(6).state_dict())
    assert empty.rows.shape == (0,)


def test_only_checkpoints_have_the_queue() -> None:
    assert training_only(nn.ModuleList([SwAV.create(queue=6), SwAV.create()])) == {"0.queue.rows", "0.queue.pushed"}


def test_a_queue_needs_the_head_that_scores() -> None:
    step = step_of(head(1), head(2), 1)
    step.heads.clear()
    with pytest.raises(KeyError, match=r"no head 'online\.prototypes'"):
        SwAV.create(queue=6)(step)


def test_codes_that_no_other_view_can_predict_are_an_error() -> None:
    """The teacher saw a local view too, but the only global one is the one that would have to predict itself."""
    step = Step(global_views=1)
    step.outputs["online.prototypes"] = Output(draw(1, 1), (0,))
    step.outputs["teacher.prototypes"] = Output(draw(2, 2), (0, 3))
    with pytest.raises(RecipeError, match=r"saw views \[0\] and codes are made of \[0\]"):
        SwAV.create(codes="teacher.prototypes")(step)


def test_a_queue_that_never_fills_is_told() -> None:
    facts = RecipeFacts(data=None, clusters=3, batch_size=8, steps=10)
    assert SwAV.Config(queue=80).check_recipe(facts) == []
    (problem,) = SwAV.Config(queue=81).check_recipe(facts)
    assert (problem.path, problem.severity) == ("queue", "warning")
    assert problem.message == "the training sees 80 images, and a queue of 81 never fills."


def test_a_queue_of_features_which_no_head_scores_is_refused() -> None:
    facts = RecipeFacts(data=None, clusters=3, batch_size=8)
    assert SwAV.Config(scores="features").check_recipe(facts) == []
    assert SwAV.Config(queue=8, codes="teacher.prototypes", scores="features").check_recipe(facts) == []
    for own, setting in (({"scores": "features"}, "scores"), ({"codes": "teacher.features"}, "codes")):
        (problem,) = SwAV.Config(queue=8, **own).check_recipe(facts)
        assert (problem.path, problem.severity) == (setting, "error")


def test_a_queue_that_starts_too_late_is_told() -> None:
    data = DataFacts(images=40, channels=1, size=8, mean=(0.5,), std=(0.2,))
    facts = RecipeFacts(data=data, clusters=3, batch_size=8, steps=20)  # four epochs of five steps
    assert SwAV.Config(queue=80, queue_start=2).check_recipe(facts) == []
    assert SwAV.Config(queue_start=9).check_recipe(facts) == []
    (problem,) = SwAV.Config(queue=80, queue_start=3).check_recipe(facts)
    assert problem.message == "the training sees 40 images from epoch 3 on, and a queue of 80 never fills."


def test_a_queue_counts_where_prototypes_are_to_be_filled() -> None:
    """8 images fill 32 prototypes at most, with 8 images in the queue 64: each view's codes are solved apart."""
    facts = RecipeFacts(data=None, clusters=3, batch_size=8, clusterer=True)
    for queue, count, warned in ((0, 32, False), (0, 33, True), (8, 64, False), (8, 65, True)):
        prototypes = SETTINGS["heads"]["prototypes"] | {"count": count}
        one = settings(heads=SETTINGS["heads"] | {"prototypes": prototypes}, losses=[{"name": "swav", "queue": queue}])
        problems = [problem for problem in one.check_recipe(facts) if problem.path == "heads.prototypes.count"]
        assert [problem.severity for problem in problems] == ["warning"] * warned
