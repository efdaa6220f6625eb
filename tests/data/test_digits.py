import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits

from imcswav.data.digits import Digits


def test_pixels_are_scikit_learn_s() -> None:
    data = Digits.create(size=8)
    bunch = load_digits()
    assert np.array_equal(data.train.images[:, 0], np.rint(bunch.images * 255 / 16))
    assert np.array_equal(data.train.labels, bunch.target)
    assert int(data.train.images.max()) == 255


def test_upsampling_agrees_with_pillow() -> None:
    small, large = Digits.create(size=8).train.images, Digits.create(size=24).train.images
    for index in (0, 7, 1796):
        expected = Image.fromarray(small[index, 0].numpy()).resize((24, 24), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(expected).astype(int) - large[index, 0].numpy()).max() <= 1


def test_facts_need_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Digits.create()
    monkeypatch.setattr("sklearn.datasets.load_digits", None)
    facts = Digits.Config().facts()
    known = (data.facts.images, data.facts.channels, data.facts.size)
    assert (facts.images, facts.channels, facts.size) == known == (1797, 1, 16)


def test_the_rest_of_the_contract() -> None:
    data = Digits.create()
    assert data.test is None
    assert data.train.names[0] == "0"
    assert data.train.names[-1] == "1796"
    assert data.mean == pytest.approx([data.train.images.numpy().mean() / 255])
    assert data.std == pytest.approx([data.train.images.numpy().std() / 255])


@pytest.mark.parametrize("size", [7, 257])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(ValidationError):
        Digits.Config(size=size)
