import pytest

from imcswav.plugins import registry
from imcswav.testing import check_component

SETTINGS = {
    ("learner", "multiview"): {
        "views": {"name": "multicrop", "crops": [{"count": 2, "size": 16, "scale": [0.3, 1.0]}]},
        "backbone": {"name": "small_resnet"},
        "heads": {
            "projection": {"name": "mlp", "hidden": [8], "width": 8},
            "prototypes": {"name": "prototypes", "input": "projection", "count": 6},
            "classifier": {"name": "mlp", "width": "clusters"},
        },
        "losses": ["swav", "imc"],
    },
}


@pytest.mark.parametrize("cls", list(registry()), ids=lambda cls: f"{cls.kind}-{cls.name}")
def test_component_keeps_the_contract(cls):
    check_component(cls, SETTINGS.get((cls.kind, cls.name)))
