"""The rules one by one: what each says of sick numbers, that healthy ones raise none, and what the doctor remembers."""

import dataclasses
import json

import pytest

from imcswav.health.doctor import Doctor
from imcswav.health.facts import Facts, Scored
from imcswav.health.rules import RULES

SETTINGS = {
    "optimizer.lr": 0.01,
    "trainer.batch_size": 128,
    "heads.prototypes.count": 64,
    "heads.prototypes.freeze_steps": 0,
    "losses.0.temperature": 0.1,
    "losses.0.solver.name": "sinkhorn",
    "losses.0.solver.epsilon": 0.05,
    "losses.1.name": "imc",
    "losses.1.entropy_weight": 4.0,
}
PLACES = {"swav": "losses.0", "imc": "losses.1"}
HEALTHY = {
    "loss": -4.9, "loss/swav": 2.7, "loss/imc": -7.6, "gradient_norm": 0.7, "weight_norm": 30.0,
    "swav/effective_prototypes": 62.0, "swav/largest_share": 0.02, "swav/prototypes_per_code": 9.0,
    "imc/effective_clusters": 9.9, "imc/information": 0.7,
    "health/feature_std": 0.5, "health/feature_rank": 34.0,
    "health/effective_clusters": 9.8, "health/largest_share": 0.12, "health/churn": 0.3,
}  # fmt: skip


def facts(prototypes=64, **settings):
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    return Facts(10, SETTINGS | changed, 512, PLACES, {"swav": Scored(prototypes, 128)})


def findings(known, *rows, steps=2000, warmup=0, every=50):
    doctor = Doctor(known, steps=steps, warmup=warmup)
    return [
        (finding.step, finding.rule, finding.text)
        for number, row in enumerate(rows, 1)
        for finding in doctor.judge(HEALTHY | row, every * number, number)
    ]


@pytest.mark.parametrize(
    ("changes", "settings", "rule", "said"),
    [
        ({"swav/effective_prototypes": 6.0}, {"losses__0__solver__epsilon": None, "losses__0__solver__name": "softmax"},
         "prototypes_die", 'losses.0.solver.name = "sinkhorn" in place of "softmax"'),
        ({"swav/effective_prototypes": 6.0}, {}, "prototypes_die", "lower optimizer.lr (0.01)"),
        ({"swav/prototypes_per_code": 63.0}, {"losses__0__solver__epsilon": 0.2}, "codes_say_nothing",
         "lower losses.0.solver.epsilon (0.2), or raise losses.0.temperature (0.1)"),
        ({"swav/prototypes_per_code": 64.0}, {"losses__0__solver__epsilon": None, "losses__0__solver__name": "uniform"},
         "codes_say_nothing", 'losses.0.solver.name = "sinkhorn" in place of "uniform"'),
        ({"loss/swav": 4.2}, {"heads__prototypes__freeze_steps": 500}, "codes_say_nothing",
         "lower heads.prototypes.freeze_steps (500)"),
        ({"loss/swav": 4.2}, {}, "codes_say_nothing", "lower optimizer.lr (0.01), or lower losses.0.solver.epsilon"),
        ({"imc/effective_clusters": 4.9}, {"losses__1__entropy_weight": 0.5, "losses__1__name": "self_label"},
         "clusters_die", "or raise losses.1.entropy_weight (0.5)"),
        ({"imc/effective_clusters": 4.9}, {"losses__1__entropy_weight": 0.5}, "clusters_die",
         "raise losses.1.entropy_weight (0.5) above 1"),
        ({"imc/effective_clusters": 4.9}, {}, "clusters_die", "lower optimizer.lr (0.01), or raise losses.1.entropy"),
        ({"health/effective_clusters": 2.4, "health/largest_share": 0.8}, {}, "one_cluster", "holds 80% of the images"),
        ({"health/effective_clusters": 2.4, "health/largest_share": 0.8}, {"losses__1__entropy_weight": 0.5},
         "one_cluster", "raise losses.1.entropy_weight (0.5) above 1"),
        ({"health/feature_std": 0.04}, {}, "features_alike", "the encoder has collapsed: lower optimizer.lr (0.01)"),
        ({"health/churn": 0.8}, {}, "clusters_drawn_anew", "80% of the images changed their cluster"),
    ],
)  # fmt: skip
def test_what_lasts_is_told_once_with_the_settings_to_change(changes, settings, rule, said):
    found = findings(facts(**settings), {}, *[changes] * 8)
    assert [(step, name) for step, name, _ in found] == [(200, rule)]  # 100 steps after it was seen first
    assert said in found[0][2]
    assert found[0][2].count(". ") == 0  # one sentence
    assert found[0][2].endswith(".")
    assert findings(facts(**settings), *[changes, {}] * 8) == []  # what comes and goes


def test_prototypes_that_no_batch_can_fill():
    known = facts(2000, heads__prototypes__count=2000)
    row = {"swav/effective_prototypes": 1900.0, "swav/prototypes_per_code": 400.0, "loss/swav": 6.0}
    [(_, rule, said)] = findings(known, *[row] * 4)
    assert rule == "too_many_prototypes"
    for setting in ("heads.prototypes.count (2000) to 512", "trainer.batch_size (128)", "losses.0.queue"):
        assert setting in said
    assert findings(facts(500), *[row | {"loss/swav": 5.0, "swav/effective_prototypes": 450.0}] * 4) == []


def test_weights_and_gradients_are_told_at_once():
    [(step, rule, said)] = findings(facts(), {}, {"weight_norm": 60.0}, {"weight_norm": 120.0}, warmup=10_000)
    assert (step, rule) == (150, "weights_grow")  # ln 2 / 50 = 1.4 % a step
    assert "1.4% a step" in said
    assert "lower optimizer.lr (0.01)" in said
    [(step, rule, said)] = findings(facts(), {}, {"gradient_norm": 71.0}, {"gradient_norm": 200.0}, warmup=10_000)
    assert (step, rule) == (150, "gradient_explodes")
    assert "180 times" in said  # of 0.7 · 101.4 ^ 0.1
    assert "trainer.clip_gradient = 1.0" in said
    assert findings(facts(), *[{"weight_norm": 48.0 * 1.6**n, "gradient_norm": 0.7 * 2**n} for n in range(9)]) == []
    assert findings(facts(), {}, {"weight_norm": 90.0, "gradient_norm": 90.0}, {"weight_norm": 90.0}) == []  # only once


def test_what_is_not_trained_yet_has_not_fallen():
    new = {"health/effective_clusters": 1.0, "health/largest_share": 1.0, "health/feature_std": 0.01}
    assert findings(facts(), *[new] * 20) == []
    assert [rule for _, rule, _ in findings(facts(), *[new] * 9, {}, *[new] * 9)] == ["one_cluster", "features_alike"]


def test_healthy_numbers_and_a_warm_up_raise_nothing():
    assert findings(facts(), *[{}] * 40) == []
    sick = {"swav/prototypes_per_code": 64.0}
    assert findings(facts(), *[sick] * 40, warmup=2001) == []
    assert [step for step, *_ in findings(facts(), *[sick] * 40, warmup=500)] == [600]
    assert [step for step, *_ in findings(facts(), *[sick] * 40, steps=8000)] == [450]  # a twentieth of the training


def test_what_a_learner_does_not_log_is_not_asked():
    doctor = Doctor(Facts(10, {}), steps=100, warmup=0)
    for step in range(0, 1000, 10):
        assert doctor.judge({"loss": 1.0, "loss/reconstruction": 1.0, "health/feature_std": 0.0}, step, 0) == []
    assert doctor.facts.named("lr") == ""


def test_the_doctor_goes_on_where_a_checkpoint_left_it():
    sick = HEALTHY | {"imc/effective_clusters": 1.0, "gradient_norm": 7.0}
    whole, first = (Doctor(facts(), steps=2000, warmup=0) for _ in range(2))
    for doctor in (whole, first):
        doctor.begin(0, 29.0)
        for step in (50, 100):
            assert doctor.judge(sick, step, 0) == []
    resumed = Doctor(facts(), steps=2000, warmup=0)
    resumed.restore(json.loads(json.dumps(first.state())))
    rows = [(150, sick), (200, sick)]
    rows += [(250 + 50 * n, sick | {"gradient_norm": 2500.0 * 4**n, "weight_norm": 60.0 * 2**n}) for n in range(2)]
    for step, row in rows:
        assert resumed.judge(row, step, 1) == whole.judge(row, step, 1)
    assert [finding.rule for finding in resumed.found] == ["clusters_die", "weights_grow", "gradient_explodes"]
    assert resumed.state() == whole.state()


def test_rules_have_names_of_their_own():
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_loss_is_judged_by_the_clusters_of_its_own_head():
    known = dataclasses.replace(facts(), counted={"imc": 4})
    assert findings(known, *[{"imc/effective_clusters": 3.9}] * 8) == []
    [(_, name, told)] = findings(known, *[{"imc/effective_clusters": 1.5}] * 8)
    assert name == "clusters_die"
    assert "1.5 of 4 are in use" in told
