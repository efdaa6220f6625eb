"""What a component of each kind must do, on tiny inputs. Used by ``testing.py``."""

from __future__ import annotations

from imcswav.contract import clusters, images, network, training
from imcswav.contract.rules import Check

CHECKS: dict[str, dict[str, Check]] = {**network.CHECKS, **training.CHECKS, **images.CHECKS, **clusters.CHECKS}
"""Kind → rule → check, called with the Config and the runtime values."""
