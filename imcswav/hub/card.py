"""The model card: README.md of a pushed model."""

from __future__ import annotations

import json
from typing import Any

from imcswav import __version__
from imcswav.clustering.plan import PREFIX
from imcswav.console import LABELS
from imcswav.model import Model
from imcswav.runs import RunFolder, figures

HEADER = """---
library_name: imcswav
pipeline_tag: image-feature-extraction
tags: [imcswav, image-clustering, self-supervised-learning]
---
"""
"""What the hub reads of a card. A licence is the owner's to choose."""


def card(model: Model, run: RunFolder, summary: dict[str, Any], repo: str) -> str:
    """What the model is, its figures and how to use it; nothing in it names an image or a folder."""
    facts, recipe = model.facts, run.recipe()
    channels = "grey" if facts.channels == 1 else f"{facts.channels}-channel"
    given = [model.titles[cluster] for cluster in model.ids if cluster in model.titles]
    prediction = "the whole image" if model.views == 1 else f"the mean over {model.views} views of an image"
    prediction += " and its mirror image" if model.flip else ""
    # a recipe of `imcswav cluster` is called by the folder
    named = "" if recipe.name.startswith(PREFIX) else f", recipe `{recipe.name}`"
    return f"""{HEADER}
# {repo.split("/")[-1]}

Assigns images to {len(model.ids)} clusters that were found without labels, by
imcswav {__version__}{named}, learner `{model.learner.name}`.

- **Clusters**: {len(model.ids)}{f" ({', '.join(given)})" if given else ""}
- **Images**: {channels}, {facts.size} × {facts.size} pixels (others are resized: `{facts.resize}`)
- **Data**: `{recipe.data.owner.name}`, trained on {summary["trained_on"]}
- **Parameters**: {sum(weight.numel() for weight in model.learner.parameters()):,}
- **Prediction**: {prediction}
- **Licence**: none chosen yet; the owner adds `license:` to this file's header.

{_figures(summary)}

## Use

```python
import imcswav

imcswav.pull({json.dumps(repo)}, "model")
model = imcswav.load("model")
clusters = model.predict(images)  # (N,) of paths, PIL images or arrays
features = model.transform(images)  # (N, F)
```

Loading executes no code from the files: weights are safetensors, settings JSON.
"""


def _figures(summary: dict[str, Any]) -> str:
    """The scores as a table, each marked as measured."""
    known = {LABELS.get(name, name.upper()): value for name, value in figures(summary).items() if value is not None}
    if not known:
        return "There are no labels, so no figures were measured."
    rows = "\n".join(f"| {name} | {value:.4f} | measured |" for name, value in known.items())
    return (
        f"| figure | value | |\n|---|---|---|\n{rows}\n\n"
        f"Measured by imcswav on {summary['scored_on']} (protocol: {summary['protocol']}), {summary['epochs']} epochs, "
        f"seed {summary['seed']}, device {summary['device']}. Ground truth scored; it trained and selected nothing."
    )
