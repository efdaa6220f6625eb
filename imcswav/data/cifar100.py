"""CIFAR-100, with its 100 fine or 20 coarse classes (CIFAR-100/20).

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The coarse classes:
https://www.cs.toronto.edu/~kriz/cifar.html, spelt and ordered as in the data set's own file of names.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from imcswav.data._cifar import Cifar, CifarConfig
from imcswav.plugins import hookimpl

FINE_OF = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE = tuple(FINE_OF)
COARSE_OF = {fine: coarse for coarse, fines in FINE_OF.items() for fine in fines.split()}
FINE = tuple(sorted(COARSE_OF))  # labels number the names alphabetically
COARSE_INDEX = torch.tensor([COARSE.index(COARSE_OF[fine]) for fine in FINE])


class Cifar100(Cifar, name="cifar100"):
    """50,000 training and 10,000 test images of 100 classes in 20 groups, RGB, 32 × 32."""

    class Config(CifarConfig):
        reader = "CIFAR100"
        title = "CIFAR-100"
        mean = (0.5071, 0.4867, 0.4408)
        std = (0.2675, 0.2565, 0.2761)

        labels: Literal["fine", "coarse"] = "fine"
        """Which ground truth clusters are scored against: 100 fine or 20 coarse classes."""

        def classes(self) -> tuple[str, ...]:
            """The 100 or 20 names."""
            return FINE if self.labels == "fine" else COARSE

    config: Config

    def labels(self, targets_N: Tensor) -> Tensor:
        """The fine labels of the files, or the coarse ones they belong to."""
        return targets_N if self.config.labels == "fine" else COARSE_INDEX[targets_N]


@hookimpl
def imcswav_components() -> list[type]:
    """The data set of this file."""
    return [Cifar100]
