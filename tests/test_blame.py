"""An error in a plugin's code is told as the plugin's, with its package."""

import pytest
from test_plugins import install  # noqa: F401 -- a fixture

from imcswav.blame import culprit
from imcswav.cli import main
from imcswav.plugins import registry

PLUGIN = """
    from imcswav.callbacks import Callback
    from imcswav.losses import Loss
    from imcswav.plugins import hookimpl

    class Wrong(Loss, name="wrong"):
        "A loss that fails."

        class Config(Loss.Config):
            how: str = "step"
            "How it fails."

            def build(self, **runtime):
                if self.how == "build":
                    raise OSError("no build")
                return super().build(**runtime)

        def forward(self, step):
            if self.config.how == "helper":
                return helper()
            return step["nothing"].mean() if self.config.how == "ours" else 1 / 0

    class Other(Callback, name="other"):
        "Another component of the same module."

    def helper():
        raise ValueError("from a function.")

    @hookimpl
    def imcswav_components():
        return [Wrong, Other]
"""


def run(tiny, tmp_path, capsys, *words):
    import tomli_w

    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(tiny))
    with pytest.raises(SystemExit) as left:
        main(["run", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run"), *words])
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "who", "what"),
    [
        ("step", "The loss 'wrong' of package pkg-x 1.2", "ZeroDivisionError: division by zero."),
        ("ours", "The loss 'wrong' of package pkg-x 1.2", "no output 'online.nothing'"),  # raised in imcswav's step
        ("build", "The loss 'wrong' of package pkg-x 1.2", "OSError: no build."),
        ("helper", "The package pkg-x 1.2", "ValueError: from a function."),  # two components could have called it
    ],
)
def test_the_component_and_its_package_are_named(install, tiny, tmp_path, capsys, how, who, what):  # noqa: F811
    install(x=PLUGIN)
    tiny["losses"].append({"name": "wrong", "how": how})
    tiny["callbacks"]["console"] = {"enabled": False}
    code, said = run(tiny, tmp_path, capsys)
    sentence = said.strip().splitlines()[-1]
    assert code == 1
    assert sentence.startswith(f"{who} failed: ")
    assert what in sentence
    assert sentence.endswith("Run again with --debug and report the traceback to its author.")
    assert "defect of imcswav" not in said


def test_a_defect_of_ours_stays_ours_beside_a_plugin(install, tiny, tmp_path, capsys, monkeypatch):  # noqa: F811
    install(x=PLUGIN)
    registry()
    monkeypatch.setattr("imcswav.engine.Engine.step", lambda *_: 1 / 0)
    code, said = run(tiny, tmp_path, capsys)
    assert code == 1
    assert "A defect of imcswav: ZeroDivisionError: division by zero. Run again" in said


def test_nobody_is_blamed_before_anything_was_loaded(install):  # noqa: F811
    install(x=PLUGIN)
    assert culprit(ValueError("never raised")) == ""
    assert registry.cache_info().currsize == 0
