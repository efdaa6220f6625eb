"""What losses, solvers, heads and backbones must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor

from imcswav.contract.rules import (
    CLUSTERS,
    GLOBAL,
    IMAGES,
    PROGRESS,
    PROTOTYPES,
    SIZE,
    VIEWS,
    WIDTH,
    Check,
    build,
    draw,
    finite_gradients,
    require,
    takes_hooks,
)
from imcswav.heads import head_settings, named_heads
from imcswav.step import Output, Step, full_name, split

COPIES = 3
HALF_DOUBLE = {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float64: torch.float64}


def synthetic_step(config: Any, dtype: torch.dtype = torch.float32) -> Step:
    """A step of 6 views (2 global) of 8 images with features, projection, prototypes and classifier.

    All need gradients. So do other heads that the settings name: a teacher's are as wide as the online ones, those
    that are unknown as the classifier.
    """
    shapes = {"features": WIDTH, "projection": WIDTH, "predictor": WIDTH, "prototypes": PROTOTYPES}
    shapes |= {"classifier": CLUSTERS}
    for name in named_heads(config).values():
        shapes.setdefault(name, shapes.get(split(name)[1], CLUSTERS))
    step = Step(global_views=GLOBAL, progress=PROGRESS)
    for seed, (name, width) in enumerate(shapes.items()):
        x = draw(VIEWS, IMAGES, width, seed=seed)
        x = F.normalize(x, dim=-1) if name in ("projection", "prototypes") else x
        step.outputs[full_name(name)] = Output(x.to(dtype).requires_grad_(), tuple(range(VIEWS)))
    return step


def _loss(config: Any, runtime: dict[str, Any]) -> None:
    for dtype in HALF_DOUBLE:
        loss = build(config, runtime, clusters=CLUSTERS)
        step = runtime.get("step") or synthetic_step(config, dtype)
        value = (loss.double() if dtype == torch.float64 else loss)(step)
        require(isinstance(value, Tensor) and value.shape == (), f"{dtype}: not a scalar")
        require(value.is_floating_point() and bool(value.isfinite()), f"{dtype}: {value}")
        leaves = [output.tensor for output in step.outputs.values() if output.tensor.requires_grad]
        if value.requires_grad and leaves:
            gradients = torch.autograd.grad(value, leaves, allow_unused=True)
            finite = all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
            require(finite, f"{dtype}: the gradient isn't finite")


def _loss_keeps_step(config: Any, runtime: dict[str, Any]) -> None:
    step = runtime.get("step") or synthetic_step(config)
    before = {name: output.tensor.detach().clone() for name, output in step.outputs.items()}
    build(config, runtime, clusters=CLUSTERS)(step)
    require(list(step.outputs) == list(before), "outputs were added or removed")
    require(all(bool((step.outputs[name].tensor == old).all()) for name, old in before.items()))


def _loss_copies(config: Any, runtime: dict[str, Any]) -> None:
    """A loss that says it takes copies has to train each of them as if it were alone, and to report what it was."""
    names = {getattr(config, name) for name, mark in head_settings(config).items() if mark.copies}
    if not names or "step" in runtime:
        return
    lone = [_with_heads(config, names, seed) for seed in range(COPIES)]
    joint = _with_heads(config, names, 0)
    for name in names:
        tensor_VBEK = torch.stack([step[name].detach() for step in lone], 2).requires_grad_()
        joint.outputs[full_name(name)] = Output(tensor_VBEK, joint.output(name).views)
    values = [build(config, runtime, clusters=CLUSTERS).double()(step) for step in lone]
    value = build(config, runtime, clusters=CLUSTERS).double()(joint)
    require(torch.allclose(value, torch.stack(values).mean()), "the value isn't the mean over copies")
    for alone in values:
        torch.autograd.backward(alone)
    torch.autograd.backward(value)
    own_E = torch.stack(values).detach()
    require(any(torch.allclose(losses_E, own_E) for losses_E in joint.reports.values()), "step.reports has not each")
    for name in names:
        found, parts = joint[name].grad, [step[name].grad for step in lone]
        expected = None if parts[0] is None else torch.stack([part for part in parts if part is not None], 2)
        same = found is None if expected is None else found is not None and torch.allclose(found, expected)
        require(same, f"the gradient at '{name}' is another")


def _with_heads(config: Any, names: set[str], seed: int) -> Step:
    """The synthetic step in float64 with other numbers for these heads."""
    step = synthetic_step(config, torch.float64)
    for place, name in enumerate(sorted(names)):
        output = step.output(name)
        other = draw(*output.tensor.shape, seed=100 * (seed + 1) + place).requires_grad_()
        step.outputs[full_name(name)] = Output(other, output.views)
    return step


def _codes(config: Any, runtime: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor, Any]]:
    scores_GBP = F.normalize(draw(GLOBAL, IMAGES, WIDTH), dim=-1) @ F.normalize(draw(PROTOTYPES, WIDTH)).T
    for dtype in HALF_DOUBLE:
        solver = build(config, runtime)
        x_GBP = scores_GBP.to(dtype)
        with torch.no_grad():
            yield x_GBP, solver(x_GBP), solver


def _solver(config: Any, runtime: dict[str, Any]) -> None:
    for scores_GBP, codes_GBP, _ in _codes(config, runtime):
        sums = codes_GBP.double().sum(-1)
        require(codes_GBP.shape == scores_GBP.shape, f"shape {tuple(codes_GBP.shape)}")
        require(bool((codes_GBP >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4))


def _solver_dtype(config: Any, runtime: dict[str, Any]) -> None:
    for scores_GBP, codes_GBP, _ in _codes(config, runtime):
        require(codes_GBP.dtype == HALF_DOUBLE[scores_GBP.dtype], f"{scores_GBP.dtype} gave {codes_GBP.dtype}")


def _solver_pure(config: Any, runtime: dict[str, Any]) -> None:
    fresh = {scores_GBP.dtype: scores_GBP.clone() for scores_GBP, _, _ in _codes(config, runtime)}
    for scores_GBP, codes_GBP, solver in _codes(config, runtime):
        require(bool((scores_GBP == fresh[scores_GBP.dtype]).all()), "the scores were changed")
        require(torch.allclose(solver(scores_GBP[1:])[0], codes_GBP[1], atol=1e-4), "a view depends on the others")


def _head(config: Any, runtime: dict[str, Any]) -> None:
    known = {"in_features": WIDTH, "clusters": CLUSTERS} | runtime
    for dtype in (torch.float32, torch.float64):
        head = build(config, runtime, in_features=WIDTH, clusters=CLUSTERS).to(dtype)
        x_MF = draw(12, known["in_features"]).to(dtype).requires_grad_()
        for training in (True, False):
            y_MF = head.train(training)(x_MF)
            width = config.out_features(known["in_features"], known["clusters"])
            shape = (12, width) if head.copies == 1 else (12, head.copies, width)
            require(y_MF.shape == shape, f"{tuple(y_MF.shape)}, but out_features says {width}")
            require(head.chosen(y_MF).shape == (12, width), "the chosen copy's rows are of another shape")
            require(y_MF.dtype == dtype, f"{dtype} gave {y_MF.dtype}")
            require(head.out_features == width)
        torch.autograd.backward(y_MF.square().sum())
        require(finite_gradients(head), "a gradient isn't finite")


def _backbone(config: Any, runtime: dict[str, Any]) -> None:
    known = {"channels": 3, "image_size": SIZE} | runtime
    backbone = build(config, runtime, channels=3, image_size=SIZE)
    x_MCHW = draw(4, known["channels"], known["image_size"], known["image_size"]).float()
    features_MF = backbone.train()(x_MCHW)
    require(
        features_MF.shape == (4, backbone.features),
        f"{tuple(features_MF.shape)}, not (4, {backbone.features})",
    )
    if features_MF.requires_grad:  # not without parameters
        torch.autograd.backward(features_MF.square().mean())
    trained = [parameter for parameter in backbone.parameters() if parameter.grad is not None]
    require(finite_gradients(backbone) and (bool(trained) or not list(backbone.parameters())), "gradient")
    require(config.check_sizes([known["image_size"]], known["channels"]) == [], "check_sizes finds problems")


CHECKS: dict[str, dict[str, Check]] = {
    "loss": {
        "a finite scalar with a finite gradient or none, in half, single and double precision": _loss,
        "the step's outputs are left as they are": _loss_keeps_step,
        "where it takes copies of a head: the mean of their losses, each copy's gradient its own": _loss_copies,
        "its hooks take the training's Progress": takes_hooks,
    },
    "solver": {
        "codes of the scores' shape whose rows are distributions": _solver,
        "float64 stays float64, half precision becomes float32": _solver_dtype,
        "each view is solved apart and the scores are left as they are": _solver_pure,
    },
    "head": {
        "rows in, rows of width out_features out, with a finite gradient": _head,
        "its hooks take the training's Progress": takes_hooks,
    },
    "backbone": {"features (M, F) with a finite gradient": _backbone},
}
