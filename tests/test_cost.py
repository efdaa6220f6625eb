import pytest
import torch

from imcswav import cost
from imcswav.errors import RecipeError
from imcswav.losses import Loss
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe


def estimate(tiny, **changes):
    return cost.estimate(load_recipe(tiny, changes))


def test_steps_and_parameters(tiny):
    found = estimate(tiny)
    learner = load_recipe(tiny).learner.build(facts=load_recipe(tiny).data.build().facts, clusters=3)
    assert found.parameters == sum(p.numel() for p in learner.parameters())
    assert (found.images, found.steps_per_epoch, found.steps) == (1797, 7, 21)
    assert estimate(tiny, **{"trainer.max_steps": 5}).steps == 5


def test_operations_of_a_network_counted_by_hand(tiny):
    tiny["views"]["crops"] = [{"count": 2, "size": 8, "scale": [0.5, 1.0]}]
    tiny["backbone"] = {"name": "small_resnet", "stem": 4, "widths": [4], "strides": [1]}
    tiny["heads"] = {"prototypes": {"name": "prototypes", "count": 5}}
    tiny["losses"] = [{"name": "swav"}]
    views, pixels = 2, 64
    first, others, scores = pixels * 9 * 1 * 4, 2 * pixels * 9 * 4 * 4, 4 * 5
    # two operations a product; backward costs a forward for inputs and one for weights, but images need no gradient
    network = 2 * views * (2 * first + 3 * others + 3 * scores)
    assert network <= estimate(tiny).operations <= 1.03 * network  # crops and codes are products too, but few


def test_a_teacher_costs_a_forward_pass_of_the_global_crops_and_its_weights(tiny):
    crops = [{"count": 2, "size": 8, "scale": [0.5, 1.0]}]
    tiny["views"]["crops"], tiny["backbone"]["widths"], tiny["backbone"]["strides"] = crops, [8], [1]
    tiny["losses"] = [{"name": "swav"}]
    alone = estimate(tiny)
    tiny["losses"] = [{"name": "swav", "codes": "teacher.prototypes", "queue": 100}]
    taught = estimate(tiny | {"learner": {"teacher": {}}})
    first, others, heads = 64 * 9 * 4, 64 * 9 * (4 * 8 + 8 * 8), 8 * 8 + 8 * 8 + 8 * 12
    assert taught.operations - alone.operations == pytest.approx(2 * 2 * (first + others + heads), rel=0.2)
    assert taught.parameters == alone.parameters
    held = 4 * (taught.parameters - 8 * 8 - 8 - 8 - 8 - 8 * 3 - 3) + 4 * 2 * 100 * 8  # no classifier; a queue of 100
    assert taught.memory - alone.memory == pytest.approx(held, rel=0.05)


def test_a_loss_that_waits_for_labels_of_k_means_is_counted(tiny):
    tiny["learner"] = {"teacher": {}}
    own = {"embeddings": "projection", "targets": "teacher.projection", "start": 0.0}
    for labels in ("kmeans", "classifier"):
        tiny["losses"] = [{"name": "prototype_contrast", "labels": labels, **own}]
        assert estimate(tiny).operations > 0


def test_memory_grows_with_the_batch_and_images(tiny):
    small, large = estimate(tiny), estimate(tiny, **{"trainer.batch_size": 512})
    fixed = cost.COPIES * 4 * small.parameters + 1797 * 64
    assert large.memory - fixed == pytest.approx(2 * (small.memory - fixed), rel=1e-3)


def test_memory_of_weights_does_not_grow_with_the_batch(tiny):
    tiny["heads"]["classifier"]["hidden"] = [1000, 1000]
    found = estimate(tiny)
    assert found.parameters > 10**6
    assert found.memory < cost.COPIES * 4 * found.parameters + 2**26


def test_reads_no_data_and_fetches_no_weights(tiny, monkeypatch):
    monkeypatch.setattr("imcswav.data.digits.Digits.__init__", pytest.fail)
    monkeypatch.setattr("imcswav.backbones.timm._download", pytest.fail)
    tiny["backbone"] = {"name": "timm", "model": "test_resnet", "pretrained": True}
    assert estimate(tiny).parameters > 0


class Odd(Loss, name="test_odd"):
    """Doesn't fit."""

    def forward(self, step):
        return step["classifier"] @ torch.ones(99)


class Prepared(Loss, name="test_prepared"):
    """Needs the hooks before a step."""

    def prepare(self, progress):
        self.factor = progress.step + 1

    def forward(self, step):
        return step["classifier"].mean() * self.factor


def test_parts_are_prepared_for_the_step(tiny, monkeypatch):
    monkeypatch.setitem(registry().classes, ("loss", "test_prepared"), Prepared)
    tiny["losses"] = [{"name": "test_prepared"}]
    assert estimate(tiny).operations > 0


def test_parts_that_do_not_fit_are_a_problem_of_the_recipe(tiny, monkeypatch):
    monkeypatch.setitem(registry().classes, ("loss", "test_odd"), Odd)
    tiny["losses"] = [{"name": "test_odd"}]
    with pytest.raises(RecipeError, match=r"one step on two random images fails: .*Check that its parts fit"):
        estimate(tiny)


def test_a_network_larger_than_memory_is_refused_before_it_is_made(tiny, monkeypatch):
    recipe = load_recipe(tiny)
    facts = recipe.data.facts()
    learner = recipe.learner.build(facts=recipe.data.build().facts, clusters=3)
    need = sum(tensor.nbytes for tensor in (*learner.parameters(), *learner.buffers()))
    monkeypatch.setattr(cost, "physical_memory", lambda: float(need))
    assert cost.check_memory(recipe, facts) == []
    monkeypatch.setattr(cost, "physical_memory", lambda: need - 1.0)
    (problem,) = cost.check_memory(recipe, facts)
    assert (problem.path, problem.severity) == ("learner", "error")
    monkeypatch.undo()
    tiny["heads"]["prototypes"]["count"] = 10**12  # 32 TB, or more
    (problem,) = cost.check_memory(load_recipe(tiny), facts)
    assert "most of it heads.prototypes" in problem.message
