"""What ``imcswav check`` says of a teacher."""

import pytest
from tiny import FACTS, SETTINGS, TAUGHT, learner, settings

from imcswav.check import check_recipe
from imcswav.data import DataFacts
from imcswav.errors import RecipeError
from imcswav.learners import RecipeFacts
from imcswav.recipe.files import load_recipe

TEACHER = {"teacher": {}}
CODES = [{"name": "swav", "codes": "teacher.prototypes"}]


def problems(clusterer=False, **changes):
    facts = RecipeFacts(DataFacts(64, 3, 12, subsets={"labelled": 40}), clusters=3, batch_size=8, clusterer=clusterer)
    return settings(**changes).check_recipe(facts)


def test_a_good_teacher_has_no_problems():
    assert problems(**TAUGHT) == []
    assert problems(**TEACHER, assignment="teacher.classifier") == []
    assert problems(**TEACHER, assignment="teacher.features", clusterer=True) == []
    assert (
        problems(**TEACHER, losses=[{"name": "byol", "predictions": "features", "targets": "teacher.features"}]) == []
    )


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"losses": CODES}, "losses.0.codes", "'teacher.prototypes' is a teacher's, and there is none. Add a table"),
        (
            TEACHER | {"losses": [{"name": "swav", "codes": "teacher.prototype"}]},
            "losses.0.codes",
            "no head 'teacher.prototype'. Did you mean 'teacher.prototypes'?",
        ),
        (
            TEACHER | {"losses": [*CODES, {"name": "imc", "logits": "clasifier"}]},
            "losses.1.logits",
            "'clasifier'. Did you mean 'classifier'?",
        ),
        (
            TAUGHT
            | {"heads": TAUGHT["heads"] | {"classifier": {"name": "mlp", "input": "teacher.features", "width": 3}}},
            "heads.classifier.input",
            "no head 'teacher.features'",
        ),
        (
            TEACHER | {"losses": [*CODES, {"name": "imc"}], "bank": {"images": 10, "subset": "labelled"}},
            "learner.teacher",
            "a teacher and a bank can't go together",
        ),
        ({"assignment": "teacher.classifier"}, "learner.assignment", "is a teacher's, and there is none"),
        ({"assignment": "tutor.classifier"}, "learner.assignment", "there is no head 'tutor.classifier'"),
    ],
)
def test_what_cannot_be(changes, path, words):
    (problem,) = problems(**changes, clusterer=True)
    assert (problem.path, problem.severity) == (path, "error")
    assert words in str(problem)


def test_a_teacher_that_nobody_reads_is_a_warning():
    (problem,) = problems(**TEACHER)
    assert (problem.path, problem.severity) == ("learner.teacher", "warning")
    assert "computed for nothing" in problem.message


def test_a_teacher_without_the_head_that_assigns():
    (problem,) = problems(**TEACHER, assignment="teacher.nothing")
    assert (problem.path, problem.severity) == ("learner.assignment", "warning")
    assert "no head 'teacher.nothing' and no clusterer" in problem.message
    (problem,) = problems(**TEACHER, assignment="teacher.clasifier")
    assert "Did you mean 'teacher.classifier'?" in problem.remedy
    assert problems(**TEACHER, assignment="teacher.nothing", clusterer=True) == []


@pytest.mark.parametrize("assignment", ["teacher.classifier", "tutor.classifier"])
def test_a_branch_that_is_not_there_is_refused_without_a_check_too(assignment):
    with pytest.raises(RecipeError, match="classifier"):
        learner(assignment=assignment)
    with pytest.raises(RecipeError, match="a bank can't go together"):
        settings(**TEACHER, bank={"images": 10, "subset": "labelled"}, losses=CODES + SETTINGS["losses"]).build(
            facts=FACTS.__class__(64, 3, 12, subsets={"labelled": 40}), clusters=3
        )


def test_a_teacher_s_head_of_another_width_is_refused():
    with pytest.raises(RecipeError, match="'prototypes' assigns 7 clusters, not 3"):
        learner(**TEACHER, assignment="teacher.prototypes")


def test_the_line_of_a_recipe_is_found(tiny, tmp_path):
    (tmp_path / "my.toml").write_text('extends = "digits"\nname = "x"\n[learner.teacher]\nmomentum = 0.9\n')
    (problem,) = check_recipe(load_recipe(tmp_path / "my.toml"))
    assert problem.path == "learner.teacher"


def test_losses_that_all_begin_later_are_a_problem():
    """Training would end in its first step."""
    contrast = {"name": "prototype_contrast", "embeddings": "projection"}
    facts = RecipeFacts(data=FACTS, clusters=3, batch_size=8, steps=80)
    for own, others, wrong in (
        ({"start": 0.5}, [], True),
        ({"start": 0.5, "labels": "classifier"}, [], True),
        ({"start": 0.0}, [], False),
        ({"start": 0.5}, [{"name": "swav"}], False),
    ):
        one = settings(teacher={}, losses=[contrast | own, *others])
        found = [problem.message for problem in one.check_recipe(facts) if problem.path == "losses"]
        assert found == ["none is on in the first step, so there is nothing to learn."] * wrong
