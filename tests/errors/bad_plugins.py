"""Packages of others that break the contract."""

from error_case import PLUGIN, case

USE = "--set losses.1.name=mine"


def _uses(at, source):
    at.plugin("theirs", source)
    return f"check my.toml {USE}"


@case("plugin", "a package that can't be imported", "ModuleNotFoundError")
def _import(at):
    return _uses(at, "import no_such_module_anywhere\n")


@case("plugin", "a package that raises while it is imported", "ValueError: broken")
def _raises(at):
    return _uses(at, "raise ValueError('broken')\n")


@case("plugin", "a package that ends the program", "SystemExit: 3")
def _exits(at):
    return _uses(at, "raise SystemExit(3)\n")


@case("plugin", "a package with a mistake of syntax", "SyntaxError", vague=r"(?<=SyntaxError: )[^(]*(?=\()")
def _syntax(at):
    return _uses(at, "x =\n")


@case("plugin", "a misspelt hook", "PluginValidationError", vague=r"(?<=PluginValidationError: ).*(?=\.$)")
def _hook(at):
    return _uses(at, PLUGIN.replace("_components", "_component"))


@case("plugin", "no hook", "has no hook imcswav_components")
def _no_hook(at):
    return _uses(at, "x = 1\n")


@case("plugin", "a hook that returns no list", "has to return a list of classes")
def _none(at):
    return _uses(at, PLUGIN.replace("[Mine]", "None"))


@case("plugin", "a hook that offers no component", "no component")
def _int(at):
    return _uses(at, PLUGIN.replace("[Mine]", "[int]"))


@case("plugin", "two packages with one name", "Two packages offer the loss 'mine'")
def _twice(at):
    at.plugin("ours", PLUGIN)
    return _uses(at, PLUGIN)


@case("plugin", "a package that takes a built-in's name", "Two packages offer the loss 'swav': imcswav and")
def _built_in(at):
    return _uses(at, PLUGIN.replace('"mine"', '"swav"'))


@case("plugin", "a package that IMCSWAV_PLUGINS leaves out", "leaves pkg-theirs 1.2 out")
def _left_out(at):
    at.patch.setenv("IMCSWAV_PLUGINS", "")
    return _uses(at, PLUGIN)


@case("plugin", "a package that isn't installed", "is not installed")
def _absent(at):
    at.patch.setenv("IMCSWAV_PLUGINS", "no-such-package")
    return f"check my.toml {USE}"


@case("plugin", "a loss that raises at the dry step of check", "The loss 'mine' of package pkg-theirs 1.2", code=1)
def _step(at):
    return _uses(at, PLUGIN.replace('step["classifier"].sum()', "step.nonsense"))


@case(
    "plugin",
    "a loss that raises while training",
    "The loss 'mine' of package pkg-theirs 1.2 failed",
    code=1,
    leaves="^new",
)
def _training(at):
    at.plugin("theirs", PLUGIN.replace('return step["classifier"].sum()', "raise LookupError('no such thing')"))
    return f"run my.toml {USE} --out new"


@case("plugin", "a loss that is no number", "became nan", leaves="^new")
def _nan(at):
    at.plugin("theirs", PLUGIN.replace(".sum()", ".sum() * float('nan')"))
    return f"run my.toml {USE} --out new"
