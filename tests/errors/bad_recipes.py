"""Recipes that can't be meant."""

from error_case import RECIPE, case

VAGUE = r"(?<=not valid TOML: ).*(?=\.$)|(?<=here are )[\d.]+(?=\.)"
LINES = (
    ("a misspelt setting", "stem = 4", "stme = 4", "Did you mean 'stem'?"),
    ("a misspelt component", '"swav"', '"swaw"', "Did you mean 'swav'?"),
    ("a table that there is none of", "[evaluation]", "[evaluaton]", "evaluaton"),
    ("text where a number belongs", "epochs = 2", 'epochs = "many"', "a whole number"),
    ("a number out of range", "clusters = 3", "clusters = 1", "at least 2"),
    ("a number that is none", "lr = 1e-3", "lr = nan", "a finite number"),
    ("a number of more than 64 bits", "batch_size = 8", f"batch_size = 1{'0' * 400}", "at most 64 bits"),
    ("a number far beyond any memory", "count = 12", "count = 9000000000", "memory"),
    ("a table that is missing", '[optimizer]\nname = "adam"\nlr = 1e-3\n\n[trainer]', "[trainer]\nlr = 1e-3", "lr"),
    ("no data", '[data]\nname = "image_folder"\nroot = "photos"\nsize = 8\n', "", "data: is missing"),
    ("a component without a name", '[data]\nname = "image_folder"\n', "[data]\n", "data"),
    ("a setting that stands twice", "clusters = 3", "clusters = 3\nclusters = 4", "not valid TOML"),
    ("a quotation mark that is missing", 'root = "photos"', "root = photos", "not valid TOML"),
    ("a name that is no file name", 'name = "mine"', 'name = "../mine"', "name"),
    ("a head that there is none of", "detach = true", 'input = "projektion"', "no head 'projektion'"),
    ("a batch larger than the data", "batch_size = 8", "batch_size = 4000", "Use at most 24"),
    ("more clusters than images", "clusters = 3", "clusters = 25", "Ask for fewer clusters"),
    ("an array of the wrong length", "scale = [0.5, 1.0]", "scale = [0.5]", "2 entries, not 1"),
    (
        "a head of that many terabytes",
        'width = "clusters"',
        'hidden = [1000000, 1000000]\nwidth = "clusters"',
        "heads.classifier",
    ),
)

for _what, _old, _new, _says in LINES:

    @case("recipe", _what, _says, vague=VAGUE)
    def _line(at, old=_old, new=_new):
        at.edit(old, new)
        return "check my.toml"


@case("recipe", "several mistakes at once", "3 problems")
def _several(at):
    at.edit("stem = 4", "stme = 4")
    at.edit("clusters = 3", "clusters = 0")
    at.edit("lr = 1e-3", "lr = -1.0")
    return "check my.toml"


@case("recipe", "arrays nested without end", "nested too deeply")
def _deep(at):
    at.write("my.toml", RECIPE + "deep = " + "[" * 5000 + "]" * 5000)
    return "check my.toml"


@case("recipe", "a recipe that isn't there", "no such file")
def _missing(at):
    return "run mine.toml"


@case("recipe", "a shipped recipe's name misspelt", "Did you mean 'digits'?")
def _misspelt(at):
    return "run digit"


@case("recipe", "an empty file", "is empty")
def _empty(at):
    at.write("my.toml", "")
    return "check my.toml"


@case("recipe", "a folder in place of a file", "is a folder")
def _folder(at):
    return "check photos"


@case("recipe", "a picture in place of a recipe", "not UTF-8")
def _picture(at):
    return "check photos/00.png"


@case("recipe", "text in UTF-16", "save it as UTF-8")
def _utf16(at):
    at.write("my.toml", RECIPE.encode("utf-16"))
    return "check my.toml"


@case("recipe", "two recipes that extend each other", "extends this recipe in turn")
def _cycle(at):
    at.write("a.toml", 'extends = "b.toml"\n')
    at.write("b.toml", 'extends = "a.toml"\n')
    return "check a.toml"


@case("recipe", "extends what isn't there", "no recipe 'theirs.toml'")
def _extends(at):
    at.edit('name = "mine"', 'extends = "theirs.toml"\nname = "mine"')
    return "check my.toml"


@case("recipe", "--set without a value", "Write path=value")
def _no_value(at):
    return "check my.toml --set clusters"


@case("recipe", "--set of a misspelt setting", "Did you mean 'epochs'?")
def _set_misspelt(at):
    return "check my.toml --set trainer.epoch=3"


@case("recipe", "--set of a place that a list hasn't", "entries 0 to 1")
def _set_index(at):
    return "check my.toml --set losses.7.weight=2"


@case("recipe", "a crop larger than any image", "at most 1024")
def _crop(at):
    at.edit("size = 8, scale", "size = 900000, scale")
    return "check my.toml"


@case("recipe", "starting from a run that isn't there", "no run folder")
def _init(at):
    at.edit("[data]", '[init]\nrun = "gone"\n\n[data]')
    return "check my.toml"
