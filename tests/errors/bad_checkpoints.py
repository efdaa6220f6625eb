"""Runs and models that were damaged, changed, or are another's."""

import json
import pickle

import torch
from error_case import case


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("sprung", "w"))


def _all(at, content):
    at.unfinished()
    for path in at.checkpoints():
        path.write_bytes(content(path))
    return "resume run"


def _changed(at, **entries):
    at.unfinished()
    for path in at.checkpoints():
        state = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in (state | entries).items() if value is not None}, path)
    return "resume run"


@case("checkpoint", "all checkpoints torn", "no checkpoint that can be read", vague=r"(?<=pt: ).*?(?=[;)])")
def _torn(at):
    return _all(at, lambda path: path.read_bytes()[:-100])


@case("checkpoint", "all checkpoints empty", "no checkpoint that can be read", vague=r"(?<=pt: ).*?(?=[;)])")
def _empty(at):
    return _all(at, lambda path: b"")


@case("checkpoint", "a changed byte in all checkpoints", "is damaged", vague=r"data/\d+")
def _flipped(at):
    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        return bytes(data)

    return _all(at, flip)


@case(
    "checkpoint", "a pickle in place of a checkpoint", "no checkpoint that can be read", vague=r"(?<=pt: ).*?(?=[;)])"
)
def _pickle(at):
    return _all(at, lambda path: pickle.dumps(Trap()))


@case("checkpoint", "a recipe changed since", "put recipe.toml back")
def _recipe(at):
    at.unfinished()
    at.edit("lr = 0.001", "lr = 0.1", "run/recipe.toml")
    return "resume run"


@case("checkpoint", "images changed since", "The training images are not those", vague=r"(?<=then ).*(?=\);)")
def _images(at):
    at.unfinished()
    (at.path / "photos" / "00.png").write_bytes((at.path / "photos" / "01.png").read_bytes())
    return "resume run"


@case("checkpoint", "an entry that another version doesn't write", "another version wrote it")
def _version(at):
    return _changed(at, ranks=None)


@case("checkpoint", "weights of another network", "doesn't fit its recipe", vague=r"(?<=its recipe \().*(?=\);)")
def _other(at):
    return _changed(at, learner={"strange.weight": torch.zeros(3)})


@case("checkpoint", "a run folder without its recipe", "no recipe.toml")
def _bare(at):
    (at.path / "run" / "recipe.toml").unlink()
    return "resume run"


@case("checkpoint", "a recipe in the run that is torn", "not valid TOML", vague=r"(?<=not valid TOML: ).*(?=\.$)")
def _torn_recipe(at):
    at.unfinished()
    at.write("run/recipe.toml", 'name = "mine\n')
    return "resume run"


@case("checkpoint", "a torn summary", "no readable summary.json", vague=r"(?<=summary.json \().*(?=\))")
def _summary(at):
    at.write("run/summary.json", '{"acc":')
    return "resume run"


@case("checkpoint", "a model of a newer version", "upgrade it")
def _newer(at):
    path = at.path / "run" / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    return "predict run photos"


@case("checkpoint", "a torn model", "no readable model", vague=r"(?<=readable model \().*?(?=\);)")
def _model(at):
    path = at.path / "run" / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    return "predict run photos"


@case("checkpoint", "a model of a component that isn't installed", "can't be restored")
def _component(at):
    path = at.path / "run" / "model" / "config.json"
    path.write_text(path.read_text().replace('"small_resnet"', '"their_resnet"'))
    return "predict run photos"


@case("checkpoint", "a model whose settings are a list", "no readable model", vague=r"(?<=readable model \().*?(?=\);)")
def _list(at):
    at.write("run/model/config.json", "[1, 2]")
    return "predict run photos"


@case("checkpoint", "a model without its clusters", "can't be restored")
def _lacking(at):
    at.write("run/model/config.json", '{"format": 1}')
    return "predict run photos"


@case("checkpoint", "starting weights that are a pickle", "can't be read", vague=r"(?<=can't be read \().*(?=\);)")
def _weights(at):
    at.write("theirs.pt", pickle.dumps(Trap()))
    at.edit(
        'name = "small_resnet"\nstem = 4\nwidths = [8]\nstrides = [2]',
        'name = "timm"\nmodel = "test_resnet"\nweights = "theirs.pt"',
    )
    return "run my.toml"


@case("checkpoint", "starting from a run of another network", "doesn't fit")
def _start(at):
    at.edit("stem = 4", "stem = 6")
    return "check my.toml --set init.run=run"
