"""The training step: eager and replayed steps do the same, and what can't be replayed says so and goes on."""

import functools
from dataclasses import dataclass, field

import pytest
import torch
from tiny import SETTINGS, TAUGHT, batch, images, learner

from imcswav.build import build_engine, build_run
from imcswav.data import Batch
from imcswav.engine import Engine
from imcswav.errors import ImcswavError
from imcswav.losses import Loss
from imcswav.optimizers.sgd import SGD
from imcswav.recipe import TrainerSettings
from imcswav.recipe.files import load_recipe
from imcswav.schedules.cosine import Cosine
from imcswav.step import Progress

STEPS = 12


@dataclass
class Replayer:
    """Records like a CUDA graph does, on the CPU: a replay repeats the recorded call, on the memory it was given."""

    recorded: list = field(default_factory=list)
    eager: int = 0

    def eagerly(self, function):
        self.eager += 1
        return function()

    def record(self, function):
        self.recorded.append(function)
        return function


def engine(model=None, recorder=None, **trainer):
    model = model or learner(heads=frozen_heads())
    return Engine(
        learner=model.train(),
        optimizer=torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01),
        schedule=Cosine.create(warmup_steps=2),
        settings=TrainerSettings(**trainer),
        device=torch.device("cpu"),
        seed=5,
        recorder=recorder,
    )


def frozen_heads(steps=6, copies=1):
    prototypes = SETTINGS["heads"]["prototypes"] | {"freeze_steps": steps}
    classifier = SETTINGS["heads"]["classifier"] | {"copies": copies}
    return SETTINGS["heads"] | {"prototypes": prototypes, "classifier": classifier}


def train(one, steps=STEPS):
    losses = []
    for number in range(steps):
        given = Batch(images(8).roll(number, 0), torch.arange(8))
        losses.append(one.step(given, Progress(number, 0, STEPS, STEPS))["loss"].item())
    return losses


@pytest.mark.parametrize("copies", [1, 3])
def test_replayed_steps_equal_eager_ones_through_every_phase(copies):
    recorder = Replayer()
    plain, replayed = (engine(learner(heads=frozen_heads(copies=copies)), way) for way in (None, recorder))
    assert train(plain) == train(replayed)
    assert replayed.notes == []
    # frozen prototypes and free ones are recorded each, after three eager steps each
    assert (len(recorder.recorded), recorder.eager) == (2, 6)
    for value, other in zip(plain.learner.state_dict().values(), replayed.learner.state_dict().values(), strict=True):
        assert torch.equal(value, other)


def test_replayed_steps_of_a_teacher_equal_eager_ones_while_momentum_moves_and_the_queue_fills():
    def model():
        return learner(**TAUGHT | {"losses": [TAUGHT["losses"][0] | {"queue": 48}, *TAUGHT["losses"][1:]]})

    recorder = Replayer()
    plain, replayed = engine(model()), engine(model(), recorder)
    assert train(plain) == train(replayed)
    assert replayed.notes == []
    # six steps fill the queue; three eager steps and a recording before, three and a recording after
    assert (len(recorder.recorded), recorder.eager) == (2, 6)
    assert plain.learner.losses[0].queue.rows.any(dim=2).all()
    for name, value in plain.learner.state_dict().items():
        assert torch.equal(value, replayed.learner.state_dict()[name]), name


def test_another_shape_of_batch_is_recorded_anew():
    recorder = Replayer()
    one = engine(learner(), recorder)
    for number in range(10):
        one.step(batch(8 if number < 5 else 6), Progress(number, 0, STEPS, STEPS))
    assert (len(recorder.recorded), recorder.eager) == (2, 6)


class Hooked(Loss, name="hooked_for_a_test"):
    config: Loss.Config

    def before_step(self, progress):
        pass

    def forward(self, step):
        return step["classifier"].square().mean()


class Ramp(Loss, name="ramp_for_a_test"):
    config: Loss.Config

    def forward(self, step):
        return step["classifier"].square().mean() * step.progress.step


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (Hooked, "loss 'hooked_for_a_test' has the hook before_step and no phase(progress)"),
        (Ramp, "the forward pass reads progress.step"),
    ],
)
def test_what_cannot_be_recorded_runs_eagerly_and_says_why(loss, why):
    def model():
        built = learner()
        built.losses.append(loss.create())
        return built

    plain, refused = engine(model()), engine(model(), Replayer())
    assert train(refused, 6) == pytest.approx(train(plain, 6), rel=1e-5)  # prototypes were scaled once more
    assert len(refused.notes) == 1
    assert why in refused.notes[0]
    with pytest.raises(ImcswavError, match="cuda_graph = true, but"):
        train(engine(model(), Replayer(), cuda_graph=True), 6)


def test_a_batch_of_other_than_tensors_is_not_recorded():
    @dataclass(frozen=True)
    class Named(Batch):
        names: tuple[str, ...] = ()

    one = engine(learner(), Replayer())
    one.step(Named(images(8), torch.arange(8), ("a",)), Progress(0, 0, STEPS, STEPS))
    assert "the batch's names is no tensor" in one.notes[0]


def test_cuda_graphs_need_cuda(tiny, tmp_path):
    with pytest.raises(ImcswavError, match="needs a CUDA device"):
        engine(cuda_graph=True)
    with pytest.raises(ImcswavError, match="only be recorded on CUDA"):
        build_run(load_recipe(tiny, {"trainer.cuda_graph": True}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ({}, ["online"]),
        ({"micro_batch": 4}, ["online.backbone"]),  # piece by piece
        ({"activation_checkpointing": True}, []),
    ],
)
def test_what_is_compiled_of_the_network(way, parts):
    model = learner(**way)
    model.compile_parts()
    assert list(model._compiled) == ["views", *parts, "losses.0", "losses.1"]


@pytest.mark.parametrize("swav", [{"queue": 16}, {"solver": {"name": "equipartition"}}])
def test_losses_are_compiled_where_they_allow_it(swav):
    model = learner(losses=[{"name": "swav", **swav}, {"name": "imc"}])
    model.losses.append(Hooked.create())
    model.compile_parts()
    assert list(model._compiled) == ["views", "online", "losses.1"]


@pytest.mark.parametrize("way", [{}, {"micro_batch": 4}])
def test_compiled_steps_equal_plain_ones(monkeypatch, way):
    """As torch.compile traces them, without a break that would leave something out; no code is generated."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    whole = functools.partial(torch.compile, backend=backend, fullgraph=True)
    monkeypatch.setattr("torch.compile", lambda part, **options: whole(part, **options))
    torch._dynamo.reset()
    plain, compiled = engine(learner(**way)), engine(learner(**way), compile=True)
    assert train(compiled, 6) == pytest.approx(train(plain, 6), rel=1e-5)
    assert compiled.notes == []
    # crops, network (in pieces the backbone for either size of crops), two losses, each once for all steps
    assert len(graphs) == (5 if way else 4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_goes_on_when_the_prototypes_are_freed(momentum):
    model, twin = learner(heads=frozen_heads(3)), learner(heads=frozen_heads(3))
    ours, plain = engine(model), engine(twin)
    ours.optimizer = SGD.create(lr=0.05, momentum=momentum).make(model.trainable())
    plain.optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=momentum, fused=False, foreach=False)
    for one in (ours, plain):
        one._groups[0]["lr"] = 0.05
    assert train(ours, 6) == pytest.approx(train(plain, 6), rel=1e-4)


def test_a_compiler_that_fails_is_left_out(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no compiler here.\nlong text")

    monkeypatch.setattr("torch.compile", lambda part, **options: broken)
    one = engine(compile=True)
    assert train(one) == pytest.approx(train(engine()), rel=1e-5)  # prototypes were scaled once more
    assert one.notes == ["torch.compile is left out: RuntimeError: no compiler here. long text."]


def test_a_mistake_of_the_step_is_not_blamed_on_the_compiler(monkeypatch):
    monkeypatch.setattr("torch.compile", lambda part, **options: part)
    one = engine(compile=True)
    monkeypatch.setattr(one.learner.losses[0], "forward", lambda step: step["nowhere"])
    with pytest.raises(KeyError, match="nowhere"):
        one.step(batch(), Progress(0, 0, STEPS, STEPS))


def test_a_loaded_optimiser_keeps_the_recipe_s_settings():
    first = engine()
    train(first, 4)
    state = first.optimizer.state_dict()
    state["param_groups"][0] |= {"lr": torch.tensor(9.0), "capturable": True}
    second = engine()
    second.load_optimizer(state)
    assert second.optimizer.param_groups[0]["capturable"] is False
    second.step(batch(), Progress(0, 0, STEPS, STEPS))
    assert second.lr == second.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("batch_norm", "compiled", "checkpointed", "wanted"),
    [
        ("per_view", False, False, False),
        ("pooled", False, False, True),
        ("per_view", True, False, True),
        ("per_view", True, True, False),  # such a backbone isn't compiled
        ("pooled", True, True, True),
    ],
)
def test_memory_format_follows_the_batch_norm(tiny, batch_norm, compiled, checkpointed, wanted):
    recipe = load_recipe(tiny, {"learner.batch_norm": batch_norm, "trainer.compile": compiled})
    model = learner(batch_norm=batch_norm, activation_checkpointing=checkpointed)
    build_engine(recipe, model, torch.device("cpu"))
    assert (model.memory_format == torch.channels_last) is wanted


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cuda_graphs_agree_with_eager_steps_over_twenty(precision, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    def run(**trainer):
        model = learner(heads=frozen_heads()).to("cuda").train()
        # plain gradient descent: Adam makes large steps of the least differences between two ways to compute
        optimizer = SGD.create(lr=0.05).make(model.trainable())
        one = Engine(
            learner=model, optimizer=optimizer, schedule=Cosine.create(), device=torch.device("cuda"), seed=5,
            settings=TrainerSettings(precision=precision, **trainer),
        )  # fmt: skip
        losses = [
            one.step(Batch(images(8).roll(n, 0).cuda(), torch.arange(8).cuda()), Progress(n, 0, 20, 20))["loss"].item()
            for n in range(20)
        ]
        assert one.notes == []
        return torch.tensor(losses), {name: value.float() for name, value in model.state_dict().items()}

    eager = run(compile=False, cuda_graph=False)
    tolerance = 1e-3 if precision == "fp32" else 0.05
    for trainer in ({"compile": False}, {"compile": True, "cuda_graph": False}, {"compile": True}):
        torch.testing.assert_close(run(**trainer), eager, rtol=tolerance, atol=tolerance)


class Constant(Loss, name="constant_for_a_test"):
    config: Loss.Config

    def forward(self, step):
        return step["classifier"].new_zeros(())


def test_a_loss_that_reaches_no_weight_is_told():
    model = learner()
    model.losses = torch.nn.ModuleList([Constant.create()])
    with pytest.raises(ImcswavError, match="Nothing can be learnt at step 0: no loss that is on reaches a weight"):
        train(engine(model), 1)


def test_a_step_in_which_all_is_frozen_changes_nothing():
    model = learner(
        heads={"prototypes": {"name": "prototypes", "count": 3, "freeze_steps": 3, "detach": True}},
        losses=[{"name": "swav"}], assignment="prototypes",
    )  # fmt: skip
    one = engine(model)
    before = model.heads["prototypes"].weight.clone()
    scalars = one.step(batch(), Progress(0, 0, 10, 5))
    assert scalars["gradient_norm"] == 0
    torch.testing.assert_close(model.heads["prototypes"].weight, before)
