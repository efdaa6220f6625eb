"""scikit-learn's own checks of estimators, on tables whose rows are taken as images one pixel high."""

import pytest
from estimator_case import RECIPE
from sklearn.utils import estimator_checks as checks

from imcswav import ImageClustering

ONE = "asks for one cluster, and a recipe for two or more"
NOT_APPLYING = dict.fromkeys(
    (
        "check_dont_overwrite_attributes",  # as scikit-learn 1.6 calls the next
        "check_dont_overwrite_parameters",
        "check_methods_subset_invariance",
        "check_fit2d_1feature",
        "check_fit2d_predict1d",
    ),
    ONE,
)
TABLES = {
    "n_clusters": 3, "recipe": RECIPE, "settings": {"data.size": 8, "data.resize": "stretch"}, "image_shape": (1, -1),
    "device": "cpu",
}  # fmt: skip


class TwoOrMore(ImageClustering):
    """Takes one cluster as two, so that the other checks can be made as well."""

    def fit(self, X, y=None):
        asked = self.n_clusters
        self.n_clusters = max(asked, 2)
        try:
            return super().fit(X, y)
        finally:
            self.n_clusters = asked


@checks.parametrize_with_checks([ImageClustering(**TABLES)], expected_failed_checks=lambda estimator: NOT_APPLYING)
def test_checks(estimator, check):
    check(estimator)


ON_ONE = [
    check
    for _, check in checks.estimator_checks_generator(TwoOrMore(**TABLES))
    if getattr(check, "func", check).__name__ in NOT_APPLYING
]


@pytest.mark.parametrize("check", ON_ONE, ids=lambda check: getattr(check, "func", check).__name__)
def test_checks_with_one_cluster(check):
    check(TwoOrMore(**TABLES))
