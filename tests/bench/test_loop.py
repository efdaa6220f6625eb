"""The frozen reference: that it stays as it is, and that it is what its docstring says."""

import hashlib
import inspect
import io
import tokenize
from types import SimpleNamespace

import torch
from bench_case import pixels, recipe

from imcswav.bench import loop

FROZEN = "0e772b8626e8a272"


def code_digest():
    """A digest of the module's code: layout, comments and docstrings may be mended."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    words = tokenize.generate_tokens(io.StringIO(inspect.getsource(loop)).readline)
    code = [word.string for word in words if word.type not in layout and not word.string.startswith('"""')]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def test_the_yardstick_has_not_been_changed():
    assert code_digest() == FROZEN, "every ratio published so far was measured against the old loop"


def test_codes_are_distributions_and_nearly_balanced():
    codes = loop.sinkhorn(torch.rand(64, 8, dtype=torch.float64) - 0.5, 0.05, 50)
    torch.testing.assert_close(codes.sum(1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((8,), 8.0, dtype=torch.float64), rtol=1e-3, atol=0)


def test_information_of_known_joints():
    settings = SimpleNamespace(temperature=1.0, entropy_weight=1.0, penalty=0.5, threshold=30.0)
    sure = torch.eye(4).mul(40.0)  # each image its own cluster and prototype: information log 4
    found = loop.information([sure], [sure], settings)
    torch.testing.assert_close(found, torch.tensor(-4.0).abs().log().neg() + 0.5 * 10, rtol=1e-5, atol=1e-5)
    none = loop.information([torch.zeros(4, 3)], [sure], settings)  # independent of each other: none
    torch.testing.assert_close(none, torch.tensor(0.0), rtol=0, atol=1e-6)


def test_swapped_prediction_is_least_when_views_agree():
    settings = SimpleNamespace(temperature=0.1, solver=SimpleNamespace(epsilon=0.05, iterations=3))
    scores = torch.eye(6) * 0.9
    agree = loop.swapped_prediction([scores, scores, scores], 2, settings)
    differ = loop.swapped_prediction([scores, scores.roll(1, 0), scores.roll(2, 0)], 2, settings)
    assert agree < 0.01 < differ


def test_crops_of_pictures_with_and_without_workers(tiny):
    images = torch.from_numpy(pixels(6)).permute(0, 3, 1, 2)
    config = recipe(tiny).learner.views
    augmentation = loop.Augmentation(config, (0.5,) * 3, (0.2,) * 3)
    batches = list(loop.loader(loop.pictures(images), augmentation, 4, workers=0))
    assert [[tuple(group.shape) for group in batch] for batch in batches] == [[(4, 2, 3, 10, 10), (4, 2, 3, 8, 8)]]
