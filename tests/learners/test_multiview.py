import dataclasses

import pytest
import torch
from pydantic import ValidationError
from tiny import FACTS, PROGRESS, SETTINGS, batch, images, learner, settings

from imcswav.check import check_recipe
from imcswav.data import Batch, DataFacts
from imcswav.errors import RecipeError
from imcswav.heads import Head
from imcswav.learners import RecipeFacts
from imcswav.learners._heads import run_heads
from imcswav.losses import Loss, relabelled
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe
from imcswav.step import Progress, Step


class Spy(Loss, name="test_spy"):
    """Keeps the step it saw."""

    def forward(self, step):
        self.step, self.autocast = step, torch.is_autocast_enabled("cpu")
        return step["classifier"].sum() * 0


@pytest.fixture(autouse=True)
def spy(monkeypatch):
    monkeypatch.setitem(registry().classes, ("loss", "test_spy"), Spy)


def double(net):
    """The learner in float64, crops and all."""
    views = net.views
    net.views = lambda pixels, seed: [group.double() for group in views(pixels, seed)]
    return net.double()


def gradients(net):
    net(batch(), PROGRESS, 3)["loss"].backward()
    return {name: None if p.grad is None else p.grad.abs().sum().item() for name, p in net.named_parameters()}


def test_imc_trains_the_classifier_and_nothing_else():
    found = gradients(learner(losses=[{"name": "imc"}]))
    for name, size in found.items():
        assert size is None or name.startswith("heads.classifier."), name
    assert found["heads.classifier.layers.0.weight"] > 0


def test_swav_trains_everything_but_the_classifier():
    found = gradients(learner(losses=[{"name": "swav"}]))
    for name, size in found.items():
        assert (size is None) == name.startswith("heads.classifier."), name


def test_without_detach_the_classifier_reaches_the_encoder():
    heads = SETTINGS["heads"] | {"classifier": {"name": "mlp", "width": "clusters"}}
    assert gradients(learner(heads=heads, losses=[{"name": "imc"}]))["backbone.layers.0.weight"] > 0


@pytest.mark.parametrize("statistics", ["per_view", "pooled"])
def test_views_come_global_first_in_the_order_of_crops(statistics):
    net = double(learner(losses=[{"name": "test_spy"}], batch_norm=statistics)).eval()
    crops = net.views(images(), 3)
    net(batch(), PROGRESS, 3)
    step = net.losses[0].step
    assert step.global_views == 2
    assert step.progress == PROGRESS
    assert set(step.outputs) == {"online.features", "online.projection", "online.prototypes", "online.classifier"}
    assert step.output("features").views == (0, 1, 2, 3, 4, 5)
    each = [view for group in crops for view in group]
    assert [view.shape[-1] for view in each] == [10, 10, 6, 6, 6, 6]
    for number, view in enumerate(each):
        features = net.backbone(view)
        torch.testing.assert_close(step["features"][number], features, rtol=0, atol=1e-10)
        scores = net.heads["prototypes"](net.heads["projection"](features))
        torch.testing.assert_close(step["prototypes"][number], scores, rtol=0, atol=1e-10)
        torch.testing.assert_close(step["classifier"][number], net.heads["classifier"](features), rtol=0, atol=1e-10)


def test_training_statistics_are_those_of_each_view_alone():
    net = double(learner(losses=[{"name": "test_spy"}]))
    crops = net.views(images(), 3)
    net(batch(), PROGRESS, 3)
    got = net.losses[0].step["classifier"]
    pooled = double(learner(losses=[{"name": "test_spy"}], batch_norm="pooled"))
    for number, view in enumerate(view for group in crops for view in group):
        alone = pooled.heads["classifier"](pooled.backbone(view))
        torch.testing.assert_close(got[number], alone, rtol=0, atol=1e-10)
    pooled(batch(), PROGRESS, 3)
    assert (pooled.losses[0].step["classifier"] - got).abs().max() > 1e-3


def test_scalars_are_the_weighted_losses_and_the_logs():
    losses = [{"name": "swav", "weight": 2.0}, {"name": "imc", "weight": 0.5}, {"name": "swav", "temperature": 0.3}]
    scalars = learner(losses=losses)(batch(), PROGRESS, 3)
    assert {"loss", "loss/swav", "loss/imc", "loss/swav.2", "imc/effective_clusters"} <= set(scalars)
    total = 2 * scalars["loss/swav"] + 0.5 * scalars["loss/imc"] + scalars["loss/swav.2"]
    torch.testing.assert_close(scalars["loss"], total)
    assert scalars["loss"].requires_grad
    assert not any(value.requires_grad for name, value in scalars.items() if name != "loss")
    assert all(value.ndim == 0 for value in scalars.values())


@pytest.mark.parametrize("precision", ["float64", "bf16"])
def test_precisions(precision):
    net = learner(losses=[*SETTINGS["losses"], {"name": "test_spy"}])
    if precision == "float64":
        scalars = double(net)(batch(), PROGRESS, 3)
        assert scalars["loss"].dtype == torch.float64
    else:
        with torch.autocast("cpu", torch.bfloat16):
            scalars = net(batch(), PROGRESS, 3)
        assert all(output.tensor.dtype == torch.float32 for output in net.losses[2].step.outputs.values())
        assert net.losses[2].autocast is False
        reference = learner()(batch(), PROGRESS, 3)["loss"]
        assert scalars["loss"].item() == pytest.approx(reference.item(), rel=0.05)
    scalars["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert net.backbone.layers[0].weight.grad.abs().sum() > 0


def test_same_seed_same_loss():
    net = learner()
    one, same, other = (net(batch(), PROGRESS, seed)["loss"].item() for seed in (3, 3, 4))
    assert one == same != other


def test_embedding_is_the_whole_image_or_the_mean_of_mild_views():
    net = learner().eval()
    whole = net.views.whole(images())
    features = net.backbone(whole)
    probabilities = net.heads["classifier"](features).softmax(-1)
    single = net.embed(images())
    torch.testing.assert_close(single.features, features)
    torch.testing.assert_close(single.probabilities, probabilities)
    mild = [net.backbone(view) for view in net.views.mild(images(), 4)]
    several = net.embed(images(), views=4)
    torch.testing.assert_close(several.features, sum(mild) / 4)
    each = [net.heads["classifier"](view).softmax(-1) for view in mild]
    torch.testing.assert_close(several.probabilities, sum(each) / 4)
    assert not torch.allclose(several.features, single.features)


def test_in_bf16_heads_give_float32():
    net = learner().eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = net.embed(images(), views=2)
        features = [net.backbone(view) for view in net.views.mild(images(), 2)]
    assert features[0].dtype == torch.bfloat16
    assert found.features.dtype == found.probabilities.dtype == torch.float32
    views = net.views.mild(images(), 2)
    with torch.autocast("cpu", torch.bfloat16):
        features = [net.backbone(view).float() for view in views]
        logits = [net.heads["classifier"](one) for one in features]
    assert logits[0].dtype == torch.float32
    expected = sum(one.softmax(-1) for one in logits) / 2
    torch.testing.assert_close(found.features, sum(features) / 2)
    torch.testing.assert_close(found.probabilities, expected)


def test_a_head_is_asked_before_it_computes_in_half_precision():
    class Plain(Head, name="plain_for_a_test"):
        class Config(Head.Config):
            def out_features(self, in_features, clusters):
                return clusters

        config: Config

        def __init__(self, config, *, in_features, clusters):
            super().__init__(config, in_features=in_features, clusters=clusters)
            self.linear = torch.nn.Linear(self.in_features, self.out_features)

        def forward(self, x_MF):
            seen.append(self.linear(x_MF).dtype)
            return self.linear(x_MF)

    heads = torch.nn.ModuleDict({"own": Plain.create(in_features=8, clusters=3)})
    rows, seen = {"features": torch.randn(4, 8)}, []
    for allowed in (False, True):
        heads["own"].mixed_precision = allowed
        with torch.autocast("cpu", torch.bfloat16):
            assert run_heads(heads, dict(rows), ["own"])["own"].dtype == torch.float32
    run_heads(heads, dict(rows), ["own"])
    assert seen == [torch.float32, torch.bfloat16, torch.float32]


def test_assignment_by_another_head_or_by_none():
    net = settings(assignment="prototypes").build(facts=FACTS, clusters=7).eval()
    scores = net.heads["prototypes"](net.heads["projection"](net.backbone(net.views.whole(images()))))
    torch.testing.assert_close(net.embed(images()).probabilities, scores.softmax(-1))
    assert learner(assignment="none").embed(images()).probabilities is None


def test_an_assignment_head_of_another_width_is_refused():
    with pytest.raises(RecipeError, match="'prototypes' assigns 7 clusters, not 3"):
        learner(assignment="prototypes")


def test_hooks_reach_the_parts():
    heads = SETTINGS["heads"] | {"prototypes": SETTINGS["heads"]["prototypes"] | {"freeze_steps": 1}}
    net = learner(heads=heads)
    weight = net.heads["prototypes"].weight
    with torch.no_grad():
        weight.mul_(3)
    net.before_step(PROGRESS)
    assert torch.allclose(weight.norm(dim=1), torch.ones(7))
    net(batch(), PROGRESS, 3)["loss"].backward()
    net.before_update(PROGRESS)
    assert weight.grad is None
    net(batch(), PROGRESS, 3)["loss"].backward()
    net.before_update(Progress(1, 0, 10, 5))
    assert weight.grad is not None
    net.after_step(PROGRESS)


def test_learners_see_no_labels():
    assert {field.name for field in dataclasses.fields(Batch)} == {"images", "index", "subsets"}


def head(**changes):
    return {"name": "mlp", "width": 4} | changes


def problems(facts=None, **changes):
    return settings(**changes).check_recipe(facts or RecipeFacts(DataFacts(64, 3, 12), clusters=3, batch_size=8))


def heads(**changes):
    return SETTINGS["heads"] | changes


def test_heads_are_built_after_what_they_read():
    given = {"c": head(input="b"), "a": head(), "b": head(input="a"), "classifier": head(width=3)}
    assert settings(heads=given).order() == ["a", "classifier", "b", "c"]
    net = learner(heads=given, losses=[{"name": "test_spy"}])
    assert net.heads["c"].in_features == 4
    net(batch(), PROGRESS, 0)
    assert net.losses[0].step["c"].shape == (6, 8, 4)


def test_a_good_recipe_has_no_problems():
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"losses": [{"name": "swav", "scores": "prototype"}]}, "losses.0.scores", "Did you mean 'prototypes'?"),
        ({"losses": [{"name": "imc"}, {"name": "imc", "logits": "clasifier"}]}, "losses.1.logits", "'classifier'?"),
        ({"heads": heads(prototypes=head(input="projektion"))}, "heads.prototypes.input", "'projection'?"),
        ({"heads": heads(projection=head(input="projection"))}, "heads.projection.input", "reads itself"),
        ({"heads": heads(a=head(input="b"), b=head(input="a"))}, "heads", "heads a, b read each other"),
    ],
)
def test_names_of_heads(changes, path, words):
    (problem,) = problems(**changes)
    assert problem.path == path
    assert words in str(problem)
    assert problem.severity == "error"


@pytest.mark.parametrize("name", ["features", "a.b", "", "keys", "training"])
def test_names_that_no_head_can_have(name):
    with pytest.raises(ValidationError, match="a head can't be called"):
        settings(heads=heads(**{name: head()}))


def test_sizes_are_checked_against_the_backbone():
    crops = {"name": "multicrop", "crops": [{"count": 2, "size": 64, "scale": [0.5, 1.0]}]}
    (problem,) = problems(
        RecipeFacts(DataFacts(64, 3, 96), clusters=3, batch_size=8),
        views=crops,
        backbone={"name": "timm", "model": "inception_v3"},
    )
    assert problem.path == "backbone.model"
    assert "64 × 64 px" in problem.message


def test_more_prototypes_than_a_batch_fills_is_a_warning():
    # 2 global views of 8 images are 16 codes; up to twice as many prototypes pass
    assert problems(heads=heads(prototypes=SETTINGS["heads"]["prototypes"] | {"count": 32})) == []
    (problem,) = problems(heads=heads(prototypes=SETTINGS["heads"]["prototypes"] | {"count": 33}))
    assert (problem.path, problem.severity) == ("heads.prototypes.count", "warning")


def test_nobody_assigns(tiny):
    (problem,) = problems(assignment="clasifier")
    assert (problem.path, problem.severity) == ("learner.assignment", "warning")
    assert "Did you mean 'classifier'?" in problem.remedy
    tiny["learner"] = {"assignment": "clasifier"}
    assert [found.path for found in check_recipe(load_recipe(tiny))] == ["learner.assignment"]
    assert check_recipe(load_recipe(tiny | {"clusterer": "kmeans"})) == []


def test_a_group_of_one_view_before_one_of_several_trains():
    """Both groups pass the same layers, whose running statistics must not change under the first one's backward."""
    crops = [{"count": 1, "size": 10, "scale": [0.4, 1.0]}, {"count": 2, "size": 6, "scale": [0.4, 1.0]}]
    net = learner(views={"name": "multicrop", "crops": crops}).train()
    net(batch(), PROGRESS, 3)["loss"].backward()
    assert all(p.grad.isfinite().all() for p in net.backbone.parameters())


def test_settings_for_a_head_that_is_not_there_name_the_one_meant():
    heads = SETTINGS["heads"] | {"classifer": {"width": 3}}
    with pytest.raises(ValidationError, match="there is no head 'classifer': write 'classifier', or give"):
        settings(heads=heads)


def test_two_losses_of_a_kind_log_apart():
    heads = SETTINGS["heads"] | {"other": SETTINGS["heads"]["classifier"] | {"width": 2}}
    losses = [{"name": "imc"}, {"name": "swav"}, {"name": "imc", "logits": "other"}, {"name": "test_spy"}]
    net = learner(heads=heads, losses=losses)
    scalars = net(batch(), PROGRESS, 5)
    for number, name in ((0, "imc"), (2, "imc.2")):
        alone = Step(global_views=2, progress=PROGRESS)
        alone.outputs = net.losses[3].step.outputs
        assert scalars[f"loss/{name}"] == net.losses[number](alone)
        assert scalars[f"{name}/effective_clusters"] == alone.logs["imc/effective_clusters"]
    assert scalars["imc.2/effective_clusters"] <= 2 < scalars["imc/effective_clusters"]


def test_a_loss_that_extends_another_logs_under_its_own_name():
    """A class made of IMC logs "imc/…", for it says so."""
    assert relabelled({"imc/x": 1}, "mine", "mine.2") == {"mine.2/x": 1}
    assert relabelled({"margin": 1, "imc/x": 2}, "imc", "imc") == {"margin": 1, "imc/x": 2}
    assert relabelled({"margin": 1}, "imc", "imc.2") == {"margin.2": 1}
