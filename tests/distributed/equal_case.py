"""One rank's part of the comparison between numbers of processes: equal_case.py FILE DEVICE, alone or under torchrun.

The main rank writes, for every case, what the first step gave and the state after 20 steps, all in float64.
"""

import os
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import TINY

from imcswav import distributed
from imcswav.build import assemble, build_engine, new_learner
from imcswav.devices import pick_device
from imcswav.evaluate import evaluation_model
from imcswav.protocol import training_data
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder
from imcswav.step import Progress

DEVICE = sys.argv[2]
STEPS, BATCH = 20, 64
NORMED = {
    "projection": {"name": "mlp", "hidden": [8], "norm": "batch", "width": 8},
    "prototypes": {"name": "prototypes", "input": "projection", "count": 12, "freeze_steps": 2},
    "classifier": {"name": "mlp", "hidden": [8], "norm": "batch", "width": "clusters", "detach": True},
}
CASES = {
    "per view": {},
    "pooled": {"learner": {"batch_norm": "pooled"}},
    "heads": {"heads": {**NORMED, "classifier": {**NORMED["classifier"], "copies": 3}}},
    "equipartition": {"losses": [{"name": "swav", "solver": {"name": "equipartition"}}, {"name": "imc"}]},
    "sharp codes": {
        "losses": [{"name": "swav", "solver": {"name": "sinkhorn", "epsilon": 0.01}}, {"name": "imc"}]
    },
    "queue": {"heads": NORMED, "losses": [{"name": "swav", "queue": 2 * BATCH}, {"name": "imc"}]},
    "teacher": {
        "heads": {**NORMED, "predictor": {"name": "mlp", "input": "projection", "hidden": [8], "width": 8}},
        "losses": [
            {"name": "swav", "codes": "teacher.prototypes"},
            {"name": "byol", "predictions": "predictor", "targets": "teacher.projection"},
            {"name": "prototype_contrast", "embeddings": "predictor", "targets": "teacher.projection", "start": 0.0,
             "labels": "kmeans"},
            {"name": "wpmi"},
        ],
        "learner": {"teacher": {}},
    },
    "self label": {
        "views": {"name": "multicrop", "flip": 0.0, "crops": TINY["views"]["crops"]},
        "losses": [{"name": "self_label"}, {"name": "imc"}, {"name": "swav"}],
        "learner": {"teacher": {}},
    },
}  # fmt: skip


def trainer_of(changes, folder):
    settings = TINY["trainer"] | {"batch_size": BATCH, "max_steps": STEPS, "precision": "fp32"}
    quiet = {name: {"enabled": False} for name in ("tensorboard", "console", "checkpoint", "metrics")}
    recipe = load_recipe({**TINY, **changes, "trainer": settings, "callbacks": quiet})
    data = training_data(recipe, None)
    learner, _ = new_learner(recipe, data, [])
    learner.double()
    make, whole = learner._make_views, learner.views.whole
    learner._make_views = lambda images, seed: [crops.double() for crops in make(images, seed)]
    learner.views.whole = lambda images: whole(images).double()
    engine = build_engine(recipe, learner, pick_device(DEVICE))
    run = RunFolder.create(recipe, folder) if distributed.is_main() else None
    return assemble(recipe, engine, data, distributed.from_main(run))


def first_step(trainer):
    found = {}
    solvers = [loss.solver for loss in trainer.learner.losses if hasattr(loss, "solver")]
    codes = []
    hooks = [solver.register_forward_hook(lambda _, __, out: codes.append(out.detach())) for solver in solvers]
    trainer.learner.train()
    trainer._start_epoch()
    batch = next(trainer._batches())
    scalars = trainer.engine.step(batch, Progress(0, 0, STEPS, trainer.steps_per_epoch))
    for hook in hooks:
        hook.remove()
    found["codes"] = [distributed.whole_batch(code.transpose(0, 1)) for code in codes]
    found["index"] = distributed.whole_batch(batch.index)
    found["losses"] = {name: float(distributed.batch_mean(value)) for name, value in scalars.items()}
    found["gradients"] = {name: p.grad for name, p in trainer.learner.trainable() if p.grad is not None}
    return found


def after(trainer):
    trainer.fit()
    own = {name for name, part in trainer.learner.named_modules() if getattr(part, "of_rank", ())}
    state = {k: v for k, v in trainer.learner.state_dict().items() if k.rpartition(".")[0] not in own}
    with evaluation_model(trainer) as model:
        features = model.embed(trainer.data.train.images[:701]).features
    return {"state": state, "features": features, "logged": trainer.logged}


def main(file):
    if DEVICE == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    distributed.start()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in CASES.items():
            step = first_step(trainer_of(changes, f"{folder}/{name} first"))
            found[name] = {**step, **after(trainer_of(changes, f"{folder}/{name} all"))}
    if distributed.is_main():
        torch.save(found, file)
    distributed.stop()


if __name__ == "__main__":
    main(sys.argv[1])
