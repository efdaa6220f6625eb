"""What a component of each kind must do, on tiny inputs: kind → rule → check. Used by ``testing.py``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor, nn

from imcswav.callbacks import Callback
from imcswav.data import Batch, DataFacts
from imcswav.errors import DataError
from imcswav.heads import ReadsHead
from imcswav.metrics import Scored
from imcswav.step import Output, Progress, Step

VIEWS, GLOBAL, IMAGES, PROTOTYPES, CLUSTERS, WIDTH, SIZE = 6, 2, 8, 12, 5, 16, 32
PROGRESS = Progress(step=3, epoch=1, steps=100, steps_per_epoch=10)
HALF_DOUBLE = {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float64: torch.float64}


class RuleError(Exception):
    """A rule doesn't hold; the text says in what."""


def require(condition: bool, detail: str = "") -> None:
    """Raise RuleError unless the condition holds."""
    if not condition:
        raise RuleError(detail)


def build(config: Any, runtime: dict[str, Any], **usual: Any) -> Any:
    """Build a component from what it takes of the usual runtime values; ``runtime`` replaces and adds."""
    taken = inspect.signature(config.owner.__init__).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    return config.build(**{key: value for key, value in (usual | runtime).items() if every or key in taken})


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def synthetic_step(config: Any, dtype: torch.dtype = torch.float32) -> Step:
    """A step of 6 views (2 global) of 8 images with features, projection, prototypes and classifier.

    All need gradients. Other heads that the settings name have an output like the classifier's.
    """
    shapes = {"features": WIDTH, "projection": WIDTH, "prototypes": PROTOTYPES, "classifier": CLUSTERS}
    for name, setting in type(config).model_fields.items():
        if any(isinstance(mark, ReadsHead) for mark in setting.metadata):
            shapes.setdefault(getattr(config, name), CLUSTERS)
    step = Step(global_views=GLOBAL, progress=PROGRESS)
    for seed, (name, width) in enumerate(shapes.items()):
        x = draw(VIEWS, IMAGES, width, seed=seed)
        x = F.normalize(x, dim=-1) if name in ("projection", "prototypes") else x
        full = name if "." in name else f"online.{name}"
        step.outputs[full] = Output(x.to(dtype).requires_grad_(), tuple(range(VIEWS)))
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
        require(
            codes_GBP.dtype == HALF_DOUBLE[scores_GBP.dtype], f"{scores_GBP.dtype} gave {codes_GBP.dtype}"
        )


def _solver_pure(config: Any, runtime: dict[str, Any]) -> None:
    fresh = {scores_GBP.dtype: scores_GBP.clone() for scores_GBP, _, _ in _codes(config, runtime)}
    for scores_GBP, codes_GBP, solver in _codes(config, runtime):
        require(bool((scores_GBP == fresh[scores_GBP.dtype]).all()), "the scores were changed")
        require(
            torch.allclose(solver(scores_GBP[1:])[0], codes_GBP[1], atol=1e-4), "a view depends on the others"
        )


def _head(config: Any, runtime: dict[str, Any]) -> None:
    known = {"in_features": WIDTH, "clusters": CLUSTERS} | runtime
    for dtype in (torch.float32, torch.float64):
        head = build(config, runtime, in_features=WIDTH, clusters=CLUSTERS).to(dtype)
        x_MF = draw(12, known["in_features"]).to(dtype).requires_grad_()
        for training in (True, False):
            y_MF = head.train(training)(x_MF)
            width = config.out_features(known["in_features"], known["clusters"])
            require(y_MF.shape == (12, width), f"{tuple(y_MF.shape)}, but out_features says {width}")
            require(y_MF.dtype == dtype, f"{dtype} gave {y_MF.dtype}")
            require(head.out_features == width)
        torch.autograd.backward(y_MF.square().sum())
        require(_finite_gradients(head), "a gradient isn't finite")


def _hooks(config: Any, runtime: dict[str, Any]) -> None:
    part = build(config, runtime, in_features=WIDTH, clusters=CLUSTERS)
    for name in ("before_step", "before_update", "after_step"):
        getattr(part, name, lambda progress: None)(PROGRESS)


def _finite_gradients(module: nn.Module) -> bool:
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)


def _backbone(config: Any, runtime: dict[str, Any]) -> None:
    known = {"channels": 3, "image_size": SIZE} | runtime
    backbone = build(config, runtime, channels=3, image_size=SIZE)
    x_MCHW = draw(4, known["channels"], known["image_size"], known["image_size"]).float()
    features_MF = backbone.train()(x_MCHW)
    require(
        features_MF.shape == (4, backbone.features),
        f"{tuple(features_MF.shape)}, not (4, {backbone.features})",
    )
    torch.autograd.backward(features_MF.square().mean())
    trained = [parameter for parameter in backbone.parameters() if parameter.grad is not None]
    require(_finite_gradients(backbone) and (bool(trained) or not list(backbone.parameters())), "gradient")
    require(config.check_sizes([known["image_size"]], known["channels"]) == [], "check_sizes finds problems")


def _optimizer(config: Any, runtime: dict[str, Any]) -> None:
    weight, bias, idle = (nn.Parameter(draw(*shape).float()) for shape in ((4, 3), (4,), (2,)))
    before, rested = weight.detach().clone(), idle.detach().clone()
    optimizer = build(config, runtime).make([weight, bias, idle])
    require(isinstance(optimizer, torch.optim.Optimizer), f"make gives {type(optimizer).__name__}")
    require(all(group["lr"] == config.lr for group in optimizer.param_groups), "lr is not the Config's")
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(weight.square().sum() + bias.square().sum())
        optimizer.step()
    require(bool(weight.isfinite().all()) and not torch.equal(weight, before), "the weight didn't move")
    require(
        torch.equal(idle, rested) and idle not in optimizer.state, "a parameter without gradient was touched"
    )


def _schedule(config: Any, runtime: dict[str, Any]) -> None:
    schedule = build(config, runtime)
    for step in range(PROGRESS.steps):
        factor = schedule.factor(Progress(step, step // PROGRESS.steps_per_epoch, PROGRESS.steps, 10))
        require(bool(np.isfinite(factor)) and factor >= 0, f"{factor} at step {step}")


def _scored(clusters_N: Any, labels_N: Any) -> Scored:
    features_NF = np.eye(3)[labels_N] + 1e-3 * draw(len(labels_N), 3).numpy()
    return Scored(labels_N, clusters_N, features_NF, features_NF, labels_N, True)


def _metric(config: Any, runtime: dict[str, Any]) -> None:
    labels_N = np.repeat(np.arange(3), 30)
    value = build(config, runtime)(_scored((labels_N + 1) % 3, labels_N))
    require(abs(value - 1) < 1e-4, f"{value}")


def _metric_invariant(config: Any, runtime: dict[str, Any]) -> None:
    labels_N = np.repeat(np.arange(3), 30)
    clusters_N = np.random.default_rng(0).integers(0, 3, 90)
    metric = build(config, runtime)
    values = [
        metric(_scored(order[clusters_N], labels_N)) for order in np.array([[0, 1, 2], [2, 0, 1], [1, 0, 2]])
    ]
    require(all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in values), f"{values[0]} is not in [-1, 1]")
    require(max(values) - min(values) < 1e-9, f"{values}")


def _clusterer(config: Any, runtime: dict[str, Any]) -> None:
    known = {"clusters": 3, "seed": 0} | runtime
    features_NF = _blobs(known["clusters"])
    labels = [build(config, runtime, clusters=3, seed=0).fit(features_NF) for _ in range(2)]
    require(
        labels[0].shape == (len(features_NF),) and labels[0].dtype.kind == "i", "labels are not integers (N,)"
    )
    require(set(np.unique(labels[0])) <= set(range(known["clusters"])), "a label is out of range")
    require(bool((labels[0] == labels[1]).all()), "the same seed gave other labels")


def _clusterer_state(config: Any, runtime: dict[str, Any]) -> None:
    known = {"clusters": 3, "seed": 0} | runtime
    features_NF = _blobs(known["clusters"])
    fitted, fresh = (build(config, runtime, clusters=3, seed=0) for _ in range(2))
    fitted.fit(features_NF)
    require(
        bool(fitted.state) and all(isinstance(value, Tensor) for value in fitted.state.values()), "no tensors"
    )
    fresh.state = {name: value.clone() for name, value in fitted.state.items()}
    new_MF = features_NF[::3] + 0.05
    chances_MK = fitted.predict_proba(new_MF)
    require(chances_MK.shape == (len(new_MF), known["clusters"]), f"shape {chances_MK.shape}")
    require(
        bool((chances_MK >= 0).all()) and np.allclose(chances_MK.sum(1), 1, atol=1e-5), "rows don't sum to 1"
    )
    require(
        np.array_equal(fresh.predict_proba(new_MF), chances_MK), "a fresh one with this state says otherwise"
    )


def _blobs(clusters: int) -> Any:
    return (
        np.repeat(3 * np.eye(clusters, 4 + clusters), 20, 0) + 0.1 * draw(20 * clusters, 4 + clusters).numpy()
    )


def _pictures(channels: int, count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def _viewer(config: Any, runtime: dict[str, Any]) -> tuple[Any, Tensor]:
    channels = runtime.get("channels", 3)
    views = build(config, runtime, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    return views, _pictures(channels)


def _views(config: Any, runtime: dict[str, Any]) -> None:
    views, images_BCHW = _viewer(config, runtime)
    before = images_BCHW.clone()
    crops, channels = views(images_BCHW, 1), images_BCHW.shape[1]
    wanted = [(group.count, 4, channels, group.size, group.size) for group in config.groups()]
    require(
        [tuple(crop.shape) for crop in crops] == wanted,
        f"{[tuple(crop.shape) for crop in crops]}, not {wanted}",
    )
    require(
        all(crop.dtype == torch.float32 and bool(crop.isfinite().all()) for crop in crops), "finite float32"
    )
    require(torch.equal(images_BCHW, before), "the images were changed")


def _views_seeded(config: Any, runtime: dict[str, Any]) -> None:
    views, images_BCHW = _viewer(config, runtime)
    state = torch.get_rng_state()
    first, again = views(images_BCHW, 1), views(images_BCHW, 1)
    require(torch.equal(torch.get_rng_state(), state), "the process's generator was used")
    require(all(map(torch.equal, first, again)), "the same seed gave other crops")
    others = images_BCHW.clone()
    others[2:] = 255 - others[2:]
    changed = views(others, 1)
    alike = all(torch.allclose(a[:, :2], b[:, :2], atol=1e-4) for a, b in zip(first, changed, strict=True))
    require(alike, "an image's crops depend on the other images of the batch")


def _views_whole(config: Any, runtime: dict[str, Any]) -> None:
    views, images_NCHW = _viewer(config, runtime)
    require(views.whole(images_NCHW).shape == images_NCHW.shape, "whole changes the shape")
    mild = views.mild(images_NCHW, 3)
    require(
        len(mild) == 3 and all(view.shape[:2] == images_NCHW.shape[:2] for view in mild),
        "mild gives other shapes",
    )
    require(all(map(torch.equal, mild, views.mild(images_NCHW, 3))), "mild differs from call to call")


def _data(config: Any, runtime: dict[str, Any]) -> None:
    if getattr(config, "download", False):
        config = config.model_copy(update={"download": False})  # a test fetches nothing
    try:
        facts = config.facts()
    except DataError:
        facts = None  # its source isn't on this machine
    if facts is None and not runtime:
        return
    data = build(config, runtime)
    known = data.facts
    require(facts is None or facts.images in (None, known.images), f"{known.images} images, not as promised")
    require(
        facts is None or (facts.channels, facts.size) == (known.channels, known.size), "shape not as promised"
    )
    require(len(known.mean) == len(known.std) == known.channels, "mean and std need a value a channel")
    for split in filter(None, (data.train, data.test)):
        require(
            split.images.dtype == torch.uint8 and split.images.dim() == 4, "images must be uint8 (N, C, H, W)"
        )
        require(len(split.names) == len(split), "names don't fit the images")
        require(
            split.labels is None or (split.labels.dtype, len(split.labels)) == (torch.int64, len(split)),
            "labels",
        )


def _callback(config: Any, runtime: dict[str, Any]) -> None:
    callback = build(config, runtime)
    for name, hook in vars(Callback).items():
        if inspect.isfunction(hook) and not name.startswith("_"):
            handed = [None] * (len(inspect.signature(hook).parameters) - 1)
            inspect.signature(getattr(callback, name)).bind(*handed)


def _learner(config: Any, runtime: dict[str, Any]) -> None:
    learner, batch = _student(config, runtime)
    twin = deepcopy(learner)
    scalars = learner.train()(batch, PROGRESS, 1)
    require(
        all(isinstance(value, Tensor) and value.shape == () for value in scalars.values()), "not all scalars"
    )
    require(bool(scalars["loss"].isfinite()), f"{scalars['loss']}")
    torch.autograd.backward(scalars["loss"])
    require(any(parameter.grad is not None for parameter in learner.parameters()), "nothing has a gradient")
    require(_finite_gradients(learner), "a gradient isn't finite")
    require(
        torch.equal(twin.train()(batch, PROGRESS, 1)["loss"], scalars["loss"]),
        "the same seed gave another loss",
    )


def _learner_embeds(config: Any, runtime: dict[str, Any]) -> None:
    learner, batch = _student(config, runtime)
    with torch.no_grad():
        embedding = learner.eval().embed(batch.images)
    count, chances_NK = len(batch.images), embedding.probabilities
    require(embedding.features.dim() == 2 and len(embedding.features) == count, "features must be (N, F)")
    if chances_NK is not None:
        require(
            chances_NK.shape == (count, learner.clusters), f"probabilities of shape {tuple(chances_NK.shape)}"
        )
        require(torch.allclose(chances_NK.sum(1), torch.ones(count), atol=1e-4), "rows don't sum to 1")


def _student(config: Any, runtime: dict[str, Any]) -> tuple[Any, Any]:
    facts = DataFacts(IMAGES, 3, SIZE, (), (0.5,) * 3, (0.25,) * 3)
    batch = runtime.get("batch") or Batch(_pictures(3, IMAGES), torch.arange(IMAGES))
    return build(config, runtime, facts=facts, clusters=CLUSTERS), batch


Check = Callable[[Any, dict[str, Any]], None]
_HOOKS = "its hooks take the training's Progress"
CHECKS: dict[str, dict[str, Check]] = {
    "loss": {
        "a finite scalar with a finite gradient or none, in half, single and double precision": _loss,
        "the step's outputs are left as they are": _loss_keeps_step,
        _HOOKS: _hooks,
    },
    "solver": {
        "codes of the scores' shape whose rows are distributions": _solver,
        "float64 stays float64, half precision becomes float32": _solver_dtype,
        "each view is solved apart and the scores are left as they are": _solver_pure,
    },
    "head": {"rows in, rows of width out_features out, with a finite gradient": _head, _HOOKS: _hooks},
    "backbone": {"features (M, F) with a finite gradient": _backbone},
    "optimizer": {"makes a torch optimiser that moves what has a gradient": _optimizer},
    "schedule": {"a finite factor of at least 0 at every step": _schedule},
    "metric": {
        "a perfect clustering scores 1": _metric,
        "numbering clusters otherwise changes nothing": _metric_invariant,
    },
    "clusterer": {
        "labels are 0 … K−1 and the same for the same seed": _clusterer,
        "predict_proba needs the state's tensors alone": _clusterer_state,
    },
    "views": {
        "crops as groups() says, float32 and finite": _views,
        "crops depend only on the seed and an image's place in the batch": _views_seeded,
        "whole and mild views keep images and channels": _views_whole,
    },
    "data": {"what is read is what facts() promised": _data},
    "callback": {"its hooks take what the trainer hands over": _callback},
    "learner": {
        "one step gives a finite loss with a gradient": _learner,
        "embeds images": _learner_embeds,
    },
}  # fmt: skip
