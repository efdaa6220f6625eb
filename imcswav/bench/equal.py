"""Whether the fast step and the plain one compute the same, on the same draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from imcswav.bench import loop
from imcswav.bench.reference import loss_outputs, plain_network, step_of
from imcswav.bench.replay import colour_difference, crop_difference, largest
from imcswav.bench.subject import EAGER, Subject, changed, ready_crops
from imcswav.data import Batch
from imcswav.errors import ImcswavError

IMAGES = 8
"""Of the whole step's comparison: in float64 and one crop at a time it is slow."""
PICTURES = 64
LEVEL = 1.0
SINGLE, SINGLE_GRADIENT = 1e-5, 1e-4
DOUBLE, DOUBLE_GRADIENT = 1e-10, 1e-8


@dataclass(frozen=True)
class Difference:
    """The largest difference found, and the largest allowed; ``unit`` says of what."""

    what: str
    found: float
    allowed: float
    unit: str = "relative"

    @property
    def equal(self) -> bool:
        """Whether it is within the tolerance; a difference that is no number isn't."""
        return self.found <= self.allowed

    def table(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"equal": self.equal}


def differences(subject: Subject) -> list[Difference]:
    """All comparisons of a recipe's step with the loop's."""
    return [*_crops(subject), *_losses(subject), *_whole_step(subject)]


def raise_unequal(found: list[Difference]) -> None:
    """Raises ImcswavError when one is larger than allowed."""
    bad = [one for one in found if not one.equal]
    if bad:
        worst = "; ".join(f"{one.what} differs by {one.found:.2g}, allowed {one.allowed:.2g}" for one in bad)
        raise ImcswavError(
            f"The training step doesn't compute what the plain loop does ({worst}): its figures mean nothing until "
            f"that is found, so please report it with the recipe and the environment."
        )


def _crops(subject: Subject) -> Iterator[Difference]:
    views: Any = subject.learner.views
    images, seed = subject.batch.images[:PICTURES], subject.recipe.seed
    yield Difference("crops, against Pillow", crop_difference(views, images, seed), LEVEL, "8-bit levels")
    colour = colour_difference(views, images, seed)
    yield Difference("colours, against torchvision", colour, LEVEL, "8-bit levels")


def _losses(subject: Subject) -> Iterator[Difference]:
    """Each loss and its gradient, float32, at the recipe's batch."""
    outputs, global_views = loss_outputs(subject)
    for loss in subject.learner.losses:  # type: ignore[union-attr]
        fast = {name: value.clone().requires_grad_() for name, value in outputs.items()}
        slow = {name: value.clone().requires_grad_() for name, value in outputs.items()}
        value = loss(step_of(fast, global_views))
        expected = loop_loss(loss, {name: list(rows) for name, rows in slow.items()}, global_views)
        value.backward()
        expected.backward()
        yield Difference(f"loss {loss.name}", _relative(value, expected), SINGLE)
        worst = largest(_relative(a.grad, slow[name].grad) for name, a in fast.items() if a.grad is not None)
        yield Difference(f"loss {loss.name}, gradient", worst, SINGLE_GRADIENT)


def loop_loss(loss: Any, outputs: dict[str, list[Tensor]], global_views: int) -> Tensor:
    """The loop's version of a loss on lists of outputs (B, ·), one for each view."""
    settings = loss.config
    if loss.name == "swav":
        return loop.swapped_prediction(outputs[settings.scores], global_views, settings)
    return loop.information(outputs[settings.logits], outputs[settings.scores], settings)


def _whole_step(subject: Subject) -> Iterator[Difference]:
    """A step with batch norm per view against one call a crop, in float64, on the same ready crops, without dropout."""
    recipe = changed(subject.recipe, EAGER | {"learner.batch_norm": "per_view", "learner.micro_batch": None})
    fast = Subject(recipe, subject.data, subject.device).learner
    slow = plain_network(recipe, fast).double()
    fast.double()
    for module in (*fast.modules(), *slow.modules()):
        if "drop" in type(module).__name__.lower():  # torch's and timm's draw anew in each call
            module.eval()
    images = subject.batch.images[:IMAGES]
    crops = [group.double() for group in fast.views(images, subject.recipe.seed)]  # type: ignore[operator]
    with ready_crops(fast, crops):
        found = fast(Batch(images, subject.batch.index[:IMAGES]), subject.progress, 0)
    expected = loop.step(slow, crops)
    found["loss"].backward()
    expected["loss"].backward()
    yield Difference("whole step, loss, float64", _relative(found["loss"], expected["loss"]), DOUBLE)
    yield Difference("whole step, gradients, float64", _gradients(fast, slow), DOUBLE_GRADIENT)
    ours, theirs = loop.running_statistics(fast), loop.running_statistics(slow)
    worst = largest(_relative(ours[name], value) for name, value in theirs.items())
    yield Difference("whole step, batch-norm statistics, float64", worst, DOUBLE)


def _gradients(fast: Any, slow: Any) -> float:
    """Largest difference, relative to the parameter's gradient, or a thousandth of the largest where that is tiny."""
    expected = {name: p.grad for name, p in slow.named_parameters() if p.grad is not None}
    least = 1e-3 * max(float(grad.abs().max()) for grad in expected.values())
    found = dict(fast.named_parameters())
    return largest(_relative(found[name].grad, grad, least) for name, grad in expected.items())


def _relative(found: Tensor | None, expected: Tensor | None, least: float = 1e-12) -> float:
    assert found is not None
    assert expected is not None
    return float((found.detach() - expected.detach()).abs().max()) / max(float(expected.detach().abs().max()), least)
