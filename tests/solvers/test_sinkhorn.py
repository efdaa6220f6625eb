"""Sinkhorn against the definition, written as loops that scale rows and columns in turn."""

import math

import pytest
import torch
from torch import Tensor

from imcswav.bench.counts import count
from imcswav.errors import RecipeError
from imcswav.solvers.sinkhorn import LOGARITHMS_BELOW, Sinkhorn
from imcswav.solvers.softmax import Softmax


def looped(scores_BP: Tensor, epsilon: float, iterations: int, prior: list[float]) -> Tensor:
    """Prototypes to their mass first, then images to 1 / B; the whole table is scaled each time."""
    table = [[math.exp(u / epsilon) for u in row] for row in scores_BP.tolist()]
    images, prototypes = scores_BP.shape
    for _ in range(iterations):
        for p in range(prototypes):
            total = sum(row[p] for row in table)
            for row in table:
                row[p] *= prior[p] / total
        for row in table:
            total = sum(row)
            row[:] = [entry / total / images for entry in row]
    return torch.tensor(table, dtype=torch.float64) * images


@pytest.fixture(name="scores_GBP")
def draw_scores() -> Tensor:
    return torch.rand(2, 12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.05, 1), (0.5, 10)])
def test_codes_are_the_looped_ones(scores_GBP: Tensor, epsilon: float, iterations: int) -> None:
    codes_GBP = Sinkhorn.create(epsilon=epsilon, iterations=iterations)(scores_GBP)
    for codes_BP, scores_BP in zip(codes_GBP, scores_GBP, strict=True):
        expected = looped(scores_BP, epsilon, iterations, [1 / 5] * 5)
        torch.testing.assert_close(codes_BP, expected, rtol=1e-11, atol=1e-15)


def test_prototypes_are_scaled_before_images(scores_GBP: Tensor) -> None:
    codes_GBP = Sinkhorn.create()(scores_GBP)
    torch.testing.assert_close(codes_GBP.sum(2), torch.ones(2, 12, dtype=torch.float64))  # images exact
    assert (codes_GBP.sum(1) - 12 / 5).abs().max() > 1e-4  # prototypes only nearly


def test_prior_sets_the_loads(scores_GBP: Tensor) -> None:
    prior = [4.0, 2.0, 1.0, 0.5, 0.5]  # scaled to sum 1
    three = Sinkhorn.create(prior=prior)(scores_GBP)
    torch.testing.assert_close(three[0], looped(scores_GBP[0], 0.05, 3, [p / 8 for p in prior]), rtol=1e-11, atol=0)
    many = Sinkhorn.create(prior=prior, epsilon=0.5, iterations=200)(scores_GBP)
    torch.testing.assert_close(many.mean(1), torch.tensor([prior, prior]).double() / 8)


def test_prior_of_wrong_length(scores_GBP: Tensor) -> None:
    with pytest.raises(RecipeError, match="prior has 2 values, but there are 5 prototypes"):
        Sinkhorn.create(prior=[0.5, 0.5])(scores_GBP)


@pytest.mark.parametrize("prior", [[], [1.0, 0.0], [-1.0, 2.0]])
def test_bad_prior_is_refused(prior: list[float]) -> None:
    with pytest.raises(ValueError, match="prior"):
        Sinkhorn.create(prior=prior)


def test_prior_is_settings_not_state() -> None:
    assert not Sinkhorn.create(prior=[0.5, 0.5]).state_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_promoted(scores_GBP: Tensor, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes_GBP = Sinkhorn.create()(scores_GBP.to(dtype))
    assert codes_GBP.dtype == torch.float32
    torch.testing.assert_close(
        codes_GBP.double(), Sinkhorn.create()(scores_GBP.to(dtype).double()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("offset", [-1e3, 50.0, 1e3])
def test_scores_beyond_the_range_of_exp(scores_GBP: Tensor, offset: float) -> None:
    # a constant added to all scores drops out, though exp(score / ε) would overflow or underflow
    codes_GBP = Sinkhorn.create()(scores_GBP + offset)
    torch.testing.assert_close(codes_GBP, Sinkhorn.create()(scores_GBP), rtol=1e-8, atol=1e-12)


def test_huge_and_uneven_scores_stay_distributions(scores_GBP: Tensor) -> None:
    uneven = scores_GBP.float() * 1e4
    uneven[:, 0] -= 1e5  # an image far below the others
    uneven[:, :, 0] -= 1e5  # a prototype nobody is near
    codes_GBP = Sinkhorn.create()(uneven)
    assert codes_GBP.isfinite().all()
    torch.testing.assert_close(codes_GBP.sum(2), torch.ones(2, 12))


def test_infinite_scores_count_as_the_largest_finite_one(scores_GBP: Tensor) -> None:
    infinite, capped = scores_GBP.clone(), scores_GBP.clone()
    scores_GBP[:, 3, 2] = -1.0  # so that the largest is another entry
    infinite[:, 3, 2] = torch.inf
    capped[:, 3, 2] = scores_GBP.amax((1, 2))
    torch.testing.assert_close(Sinkhorn.create()(infinite), Sinkhorn.create()(capped), rtol=1e-12, atol=0)


@pytest.mark.parametrize("iterations", [1, 2, 3, 200])
def test_images_are_exact_at_any_count_and_prototypes_in_the_end(scores_GBP: Tensor, iterations: int) -> None:
    codes_GBP = Sinkhorn.create(iterations=iterations, epsilon=0.1)(scores_GBP)
    torch.testing.assert_close(codes_GBP.sum(2), torch.ones(2, 12, dtype=torch.float64), rtol=1e-12, atol=0)
    even = (codes_GBP.sum(1) - 12 / 5).abs().max().item() < 1e-4
    assert even is (iterations == 200)


def test_a_constant_for_each_prototype_changes_nothing(scores_GBP: Tensor) -> None:
    """It is taken into the prototypes' own scale, from the first iteration on; with softmax it stays."""
    shift_P = torch.tensor([0.3, -0.2, 0.5, 0.0, -0.4], dtype=torch.float64)
    for iterations in (1, 3, 200):
        solver = Sinkhorn.create(iterations=iterations)
        torch.testing.assert_close(solver(scores_GBP + shift_P), solver(scores_GBP), rtol=1e-9, atol=1e-12)
    softmax = Softmax.create()
    assert (softmax(scores_GBP + shift_P) - softmax(scores_GBP)).abs().max() > 0.1


SMALL = [(0.001, 3), (0.001, 100), (0.002, 3), (0.01, 3), (0.02, 100)]


def cosines(images: int, prototypes: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    rows = (torch.randn(count, width, generator=generator) for count in (images, prototypes))
    one_BD, other_PD = (torch.nn.functional.normalize(x, dim=1) for x in rows)
    return (one_BD @ other_PD.T)[None]


@pytest.mark.parametrize(("epsilon", "iterations"), SMALL)
@pytest.mark.parametrize(("images", "prototypes", "width"), [(40, 3, 3), (64, 10, 64), (128, 300, 64)])
def test_small_epsilons(images: int, prototypes: int, width: int, epsilon: float, iterations: int) -> None:
    scores_GBP = cosines(images, prototypes, width)
    solver = Sinkhorn.create(epsilon=epsilon, iterations=iterations)
    codes_GBP = solver(scores_GBP)
    assert codes_GBP.isfinite().all()
    torch.testing.assert_close(codes_GBP.sum(2), torch.ones(1, images))
    torch.testing.assert_close(codes_GBP.double(), solver(scores_GBP.double()), rtol=0, atol=2e-4)


@pytest.mark.parametrize("prior", [None, [4.0, 2.0, 1.0, 0.5, 0.5]])
@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_logarithms_give_the_same_codes(
    scores_GBP: Tensor, iterations: int, prior: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_GBP[0, 3, 2], scores_GBP[0, :, 1] = torch.inf, -torch.inf
    for epsilon in (0.02, 0.2):
        solver = Sinkhorn.create(epsilon=epsilon, iterations=iterations, prior=prior)
        found = []
        for bound in (0.0, 1.0):
            monkeypatch.setattr("imcswav.solvers.sinkhorn.LOGARITHMS_BELOW", bound)
            found.append(solver(scores_GBP))
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-14)


def test_the_bound_holds_for_the_widest_cosines() -> None:
    """At the bound no logarithm is taken, and scores of ±1 alone, in any pattern, give distributions."""
    signs_GBP = torch.randn(20, 64, 10, generator=torch.Generator().manual_seed(5)).sign()
    signs_GBP[::2, 0], signs_GBP[::2, 1:] = 1, -1  # one image near to all prototypes, the others near to none
    signs_GBP[1::4, :, 0], signs_GBP[1::4, :, 1:] = 1, -1  # all images near to one prototype
    for iterations in (1, 3, 1000):
        solver = Sinkhorn.create(epsilon=LOGARITHMS_BELOW, iterations=iterations)
        assert "logsumexp" not in count(lambda solver=solver: solver(signs_GBP)).launched
        codes_GBP = solver(signs_GBP)
        torch.testing.assert_close(codes_GBP.sum(2), torch.ones(20, 64))
        torch.testing.assert_close(codes_GBP.double(), solver(signs_GBP.double()), rtol=0, atol=1e-4)
    below = Sinkhorn.create(epsilon=LOGARITHMS_BELOW - 1e-6)
    assert "logsumexp" in count(lambda: below(signs_GBP)).launched
