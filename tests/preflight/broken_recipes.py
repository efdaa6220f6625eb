"""Ten recipes with planted problems: a good one with lines replaced, and what has to be said of each."""

GOOD = """\
name = "good"
clusters = 2

[data]
name = "image_folder"
root = "images"
size = 12

[views]
name = "multicrop"
crops = [{ count = 2, size = 10, scale = [0.4, 1.0] }, { count = 1, size = 6, scale = [0.2, 0.5] }]
flip = 0.5

[backbone]
name = "small_resnet"
widths = [8]
strides = [2]

[heads.projection]
name = "mlp"
hidden = [8]
width = 8

[heads.prototypes]
name = "prototypes"
input = "projection"
count = 6

[heads.classifier]
name = "mlp"
width = "clusters"
detach = true

[[losses]]
name = "swav"
temperature = 0.1
solver = { name = "sinkhorn", epsilon = 0.05 }

[[losses]]
name = "imc"
weight = 0.5

[optimizer]
name = "adam"
lr = 0.001

[trainer]
epochs = 4
batch_size = 8
device = "cpu"
threads = 1

[callbacks.tensorboard]
enabled = false
"""

RECIPES = {
    "four mistakes of the schema": {
        "clusters = 2": "clusters = 1",
        'name = "small_resnet"': 'name = "smal_resnet"',
        "lr = 0.001": "lr = -1.0",
        "enabled = false": "enabeld = false",
    },
    "schema, data, heads and device at once": {
        'root = "images"': 'root = "nowhere"',
        'input = "projection"': 'input = "projektion"',
        "temperature = 0.1": "temperature = 0.0",
        'device = "cpu"': 'device = "abacus"',
    },
    "fewer images than asked for": {
        "clusters = 2": "clusters = 41",
        "batch_size = 8": "batch_size = 64",
        "threads = 1": "cuda_graph = true",
    },
    "a folder in which nothing can be read": {
        'root = "images"': 'root = "garbage"',
        'width = "clusters"': "width = 0",
    },
    "an empty folder": {
        'root = "images"': 'root = "empty"',
        "temperature = 0.1": 'scores = "prototype"',
    },
    "a misspelt table": {
        'root = "images"': 'root = "images/cat/0.png"',
        "[trainer]": "[trianer]",
    },
    "parts that need what isn't there": {
        "clusters = 2": 'clusters = 2\ninit = { run = "nowhere" }',
        "flip = 0.5": "mean = [0.5]",
        "hidden = [8]": "hiden = [8]",
        'input = "projection"': 'input = "prototypes"',
    },
    "a protocol without its split, a logger without its package": {
        "batch_size = 8": "batchsize = 8",
        "threads = 1": '[evaluation]\ntrain_on = "train+test"',
        "[callbacks.tensorboard]": "[callbacks.wandb]\n\n[callbacks.tensorboard]",
    },
    "three mistakes in one table, and a head that isn't there": {
        "weight = 0.5": 'logits = "clasifier"',
        "epochs = 4": 'epochs = "many"',
        'device = "cpu"': 'device = "abacus"',
        "threads = 1": 'precision = "fp16"',
    },
    "a section that is missing": {
        'name = "good"': 'name = "a b"',
        '[data]\nname = "image_folder"\nroot = "images"\nsize = 12\n': "",
        "strides = [2]": "strides = [2, 2]",
        "detach = true": "detach = 3",
    },
}
"""By name, what stands in place of lines of the good recipe."""

PLANTED = {
    "four mistakes of the schema": [
        ("clusters = 1", "clusters", "at least 2"),
        ('name = "smal_resnet"', "backbone.name", "Did you mean 'small_resnet'?"),
        ("lr = -1.0", "optimizer.lr", "greater than 0"),
        ("enabeld = false", "callbacks.tensorboard.enabeld", "Did you mean 'enabled'?"),
    ],
    "schema, data, heads and device at once": [
        ('root = "nowhere"', "data.root", "does not exist"),
        ('input = "projektion"', "heads.prototypes.input", "Did you mean 'projection'?"),
        ("temperature = 0.0", "losses.0.temperature", "greater than 0"),
        ('device = "abacus"', "trainer.device", "choose auto or cpu"),
    ],
    "fewer images than asked for": [
        ("clusters = 41", "clusters", "41 clusters are more than the 40 training images"),
        ("batch_size = 64", "trainer.batch_size", "Use at most 40"),
        ("cuda_graph = true", "trainer.cuda_graph", "can only be recorded on CUDA"),
    ],
    "a folder in which nothing can be read": [
        (
            'root = "garbage"',
            "data.root",
            "32 of 32 sampled images can't be read (the first is garbage/0.png: it is no",
        ),
        ("width = 0", "heads.classifier.width", "at least 1"),
    ],
    "an empty folder": [
        ('root = "empty"', "data.root", "There are no images"),
        ('scores = "prototype"', "losses.0.scores", "Did you mean 'prototypes'?"),
    ],
    "a misspelt table": [
        ('root = "images/cat/0.png"', "data.root", "is a file"),
        ("[trianer]", "trianer", "Did you mean 'trainer'?"),
    ],
    "parts that need what isn't there": [
        ('init = { run = "nowhere" }', "init.run", "is no run folder"),
        ("mean = [0.5]", "views.mean", "the images have 3 channels"),
        ("hiden = [8]", "heads.projection.hiden", "Did you mean 'hidden'?"),
        ('input = "prototypes"', "heads.prototypes.input", "reads itself"),
    ],
    "a protocol without its split, a logger without its package": [
        ("batchsize = 8", "trainer.batchsize", "Did you mean 'batch_size'?"),
        ('train_on = "train+test"', "evaluation.train_on", "no test split"),
        ("[callbacks.wandb]", "callbacks.wandb.enabled", "pip install 'imcswav[wandb]'"),
    ],
    "three mistakes in one table, and a head that isn't there": [
        ('logits = "clasifier"', "losses.1.logits", "Did you mean 'classifier'?"),
        ('epochs = "many"', "trainer.epochs", "a whole number"),
        ('device = "abacus"', "trainer.device", "Device 'abacus' can't be used"),
        ('precision = "fp16"', "trainer.precision", "'bf16' or 'fp32'"),
    ],
    "a section that is missing": [
        ('name = "a b"', "name", "text that matches"),
        (None, "data", "is missing"),
        ("[backbone]", "backbone", "widths has 1 stages, strides 2"),
        ("detach = 3", "heads.classifier.detach", "true or false"),
    ],
}
"""By name, what has to be said: the line (None: it is in no line), the path, and some words."""


def broken(name):
    """The text of a broken recipe, and (place, path, words) of each of its problems."""
    text = GOOD
    for old, new in RECIPES[name].items():
        assert text.count(f"{old}\n") == 1, old
        text = text.replace(f"{old}\n", f"{new}\n")
    lines = text.splitlines()
    places = {line: f"recipe.toml:{lines.index(line) + 1}" for line, _, _ in PLANTED[name] if line is not None}
    return text, [(places.get(line, "recipe.toml"), path, said) for line, path, said in PLANTED[name]]
