import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from imcswav import plugins
from imcswav.component import KINDS, Component
from imcswav.errors import PluginError
from imcswav.losses import Loss
from imcswav.plugins import FOLDERS, Registry, did_you_mean, discover, registry

GOOD = """
    from imcswav.losses import Loss
    from imcswav.plugins import hookimpl

    class Mine(Loss, name="{name}"):
        "A loss."

    @hookimpl
    def imcswav_components():
        return [Mine]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages, each with one entry point; the registry is built anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("IMCSWAV_PLUGINS", raising=False)
    modules = []

    def installer(**sources):
        entries = []
        for name, source in sources.items():
            (tmp_path / f"plugin_{name}.py").write_text(textwrap.dedent(source))
            info = tmp_path / f"pkg_{name}-1.2.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pkg-{name}\nVersion: 1.2\n")
            (info / "entry_points.txt").write_text(f"[imcswav]\nep-{name} = plugin_{name}\n")
            modules.append(f"plugin_{name}")
        entries = [entry for entry in plugins.entry_points(group="imcswav") if entry.module in modules]
        monkeypatch.setattr(plugins, "entry_points", lambda group: entries)

    registry.cache_clear()
    yield installer
    registry.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def test_every_kind_has_a_folder():
    assert set(FOLDERS) == set(KINDS)


def test_built_ins_are_found_and_come_from_imcswav(install):
    install()
    known = registry()
    assert ("loss", "swav") in known.classes
    assert set(known.origins.values()) == {"imcswav"}
    assert known.broken == []
    assert [(cls.kind, cls.name) for cls in known] == sorted(known.classes)


def test_a_plugin_is_like_a_built_in(install):
    install(a=GOOD.format(name="mine"))
    assert registry().get("loss", "mine").__name__ == "Mine"
    assert registry().origins["loss", "mine"] == "pkg-a 1.2"


@pytest.mark.parametrize("name", ["mine", "swav"])
def test_a_clash_raises_and_names_both_owners(install, name):
    install(a=GOOD.format(name=name), b=GOOD.format(name=name))
    with pytest.raises(PluginError, match="IMCSWAV_PLUGINS") as caught:
        registry()
    first = "imcswav" if name == "swav" else "pkg-a 1.2"
    second = "pkg-a 1.2" if name == "swav" else "pkg-b 1.2"
    assert f"Two packages offer the loss '{name}': {first} and {second};" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'."),
        ("raise ValueError('two\\nlines.')", "ValueError: two lines."),
        ("raise SystemExit(3)", "SystemExit: 3."),
        ("x = ", "SyntaxError"),
        ("x = 1", "PluginError: plugin_bad has no hook imcswav_components."),
        (GOOD.format(name="bad").replace("_components", "_component"), "imcswav_component"),
        (GOOD.format(name="bad").replace("[Mine]", "None"), "has to return a list of classes"),
        (GOOD.format(name="bad").replace("[Mine]", "[Mine()]"), "Error"),
        (GOOD.format(name="bad").replace("[Mine]", "[int]"), "no component: write class Mine"),
        (GOOD.format(name=""), "no component: write class Mine"),
        ("import imcswav.component as c\nclass A(c.Component, kind='x'): pass", "'x' is no kind"),
    ],
)
def test_a_broken_plugin_is_one_sentence_and_others_still_work(install, source, reason):
    install(bad=source, good=GOOD.format(name="mine"))
    known = registry()
    assert known.get("loss", "mine")
    assert ("loss", "swav") in known.classes
    (sentence,) = known.broken
    assert sentence.startswith("Plugin pkg-bad 1.2 can't be loaded: ")
    assert reason in sentence
    assert "\n" not in sentence
    assert sentence in known.suggest("loss", "mime")


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        (None, {"a", "b"}),
        ("", set()),
        (" ", set()),
        ("ep-a", {"a"}),
        ("pkg-b", {"b"}),
        ("pkg-a, ep-b ,", {"a", "b"}),
    ],
)
def test_the_environment_chooses_plugins(install, monkeypatch, allowed, found):
    install(a=GOOD.format(name="a"), b=GOOD.format(name="b"))
    if allowed is not None:
        monkeypatch.setenv("IMCSWAV_PLUGINS", allowed)
    assert {name for name in "ab" if ("loss", name) in registry().classes} == found
    assert registry().broken == []
    states = {plugin.package: plugin.state for plugin in registry().plugins}
    assert states == {f"pkg-{name}": "loaded" if name in found else "disabled" for name in "ab"}


def test_a_name_in_the_environment_that_is_not_installed_is_told(install, monkeypatch):
    install(a=GOOD.format(name="a"))
    monkeypatch.setenv("IMCSWAV_PLUGINS", "pkg-a,pkg-z")
    assert ("loss", "a") in registry().classes
    assert registry().broken == ["Plugin pkg-z, named in IMCSWAV_PLUGINS, is not installed."]


def test_what_became_of_each_plugin_is_known(install, monkeypatch):
    install(a=GOOD.format(name="a"), b="import nothing_such", c=GOOD.format(name="a"), d=GOOD.format(name="d"))
    monkeypatch.setenv("IMCSWAV_PLUGINS", "pkg-a,pkg-b,pkg-c,pkg-z")
    found = discover()
    assert [(plugin.origin, plugin.state) for plugin in found.plugins] == [
        ("pkg-a 1.2", "loaded"),
        ("pkg-b 1.2", "broken"),
        ("pkg-c 1.2", "clashing"),
        ("pkg-d 1.2", "disabled"),
        ("pkg-z", "not installed"),
    ]
    assert found.origins["loss", "a"] == "pkg-a 1.2"
    assert [cls.name for cls in found.plugins[0].classes] == ["a"]
    assert found.plugins[2].reason.startswith("Two packages offer the loss 'a': pkg-a 1.2 and pkg-c 1.2;")
    assert len(found.broken) == 2


def test_an_entry_point_without_a_distribution_is_called_by_its_value(install, monkeypatch):
    install()
    entry = EntryPoint("x", "no_such_module_anywhere", "imcswav")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    assert registry().broken[0].startswith("Plugin no_such_module_anywhere can't be loaded")


def test_registry_refuses_and_suggests():
    known = Registry()
    mine = type("Mine", (Loss,), {}, name="mine")
    known.add(mine, "one")
    known.add(mine, "one")  # the same class again is no clash
    with pytest.raises(PluginError, match="one and two"):
        known.add(type("Mine", (Loss,), {}, name="mine"), "two")
    for wrong in (3, int, Component, Loss):
        with pytest.raises(PluginError, match="no component: write class Mine"):
            known.add(wrong, "two")
    with pytest.raises(PluginError, match=r"There is no loss 'mime'. Did you mean 'mine'\?"):
        known.get("loss", "mime")
    assert known.suggest("head", "x") == "Known: none."


def test_did_you_mean():
    assert did_you_mean("temprature", ["weight", "temperature"]) == "Did you mean 'temperature'?"
    assert did_you_mean("zzz", ["weight", "temperature"]) == "Known: weight, temperature."


def test_two_entry_points_of_one_module_and_any_spelling_of_a_package(install, monkeypatch):
    install(mine=GOOD.format(name="my_loss"))
    (entry,) = plugins.entry_points(group="imcswav")
    twin = EntryPoint("twin", entry.value, entry.group)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry, twin])
    assert registry().broken == []
    assert [plugin.state for plugin in registry().plugins] == ["loaded", "loaded"]
    registry.cache_clear()
    monkeypatch.setenv("IMCSWAV_PLUGINS", "PKG_Mine, other")
    assert [plugin.state for plugin in registry().plugins] == ["loaded", "disabled", "not installed"]


def test_a_long_story_of_what_is_broken_is_cut(install):
    install(mine="raise ValueError('x' * 5000)")
    (told,) = registry().broken
    assert len(told) < 500
