"""What the parts of a step hand each other."""

import pytest
import torch
from tiny import TAUGHT, batch, learner

from imcswav.step import Progress


def test_heads_and_what_they_read():
    net = learner(**TAUGHT)
    seen = []
    net.losses[0].register_forward_pre_hook(lambda loss, given: seen.append(given[0]))
    given = batch()
    net(given, Progress(0, 0, 10, 5), 3)
    (step,) = seen
    assert step.index is given.index
    for name, head, source in (
        ("prototypes", net.heads["prototypes"], "online.projection"),
        ("online.classifier", net.heads["classifier"], "online.features"),
        ("teacher.prototypes", net.teacher.heads["prototypes"], "teacher.projection"),
        ("teacher.projection", net.teacher.heads["projection"], "teacher.features"),
    ):
        found, read = step.head(name)
        assert found is head
        assert read is step.outputs[source]
    scored = step.head("teacher.prototypes")[0](step["teacher.projection"])
    torch.testing.assert_close(scored, step["teacher.prototypes"])
    with pytest.raises(KeyError, match=r"no head 'teacher\.predictor'; this step has online\.projection"):
        step.head("teacher.predictor")
    with pytest.raises(KeyError, match=r"no output 'teacher\.predictor'"):
        step["teacher.predictor"]
