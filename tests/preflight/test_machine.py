"""What this machine can't do of what ``[trainer]`` asks for."""

import shutil

import torch

from imcswav.machine import check_machine
from imcswav.recipe import TrainerSettings


def found(**settings):
    return [(one.severity, one.path) for one in check_machine(TrainerSettings(**{"device": "cpu"} | settings))]


def test_a_cpu_does_what_is_usual():
    assert found() == []
    assert found(precision="bf16", cuda_graph=False, compile=False) == []


def test_several_at_once(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    asked = {"cuda_graph": True, "compile": True}
    assert found(**asked) == [("error", "trainer.cuda_graph"), ("warning", "trainer.compile")]
    (_, lacking) = check_machine(TrainerSettings(device="cpu", **asked))
    assert "a C++ compiler such as g++" in lacking.message


def test_a_named_compiler_counts(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/opt/cxx" if name == "/opt/cxx" else None)
    assert found(compile=True) == [("warning", "trainer.compile")]
    monkeypatch.setenv("CXX", "/opt/cxx")
    assert found(compile=True) == []


def test_a_device_without_bf16(monkeypatch):
    def refused(*_):
        raise RuntimeError("no such type here\nand more")

    monkeypatch.setattr(torch, "autocast", refused)
    (problem,) = check_machine(TrainerSettings(device="cpu", precision="bf16"))
    assert str(problem) == 'trainer.precision: cpu has no bf16 (no such type here). Leave it at "auto".'
    assert found() == []


def test_what_is_wrong_already_is_not_judged():
    settings = TrainerSettings(device="abacus", cuda_graph=True)
    assert [one.path for one in check_machine(settings)] == ["trainer.device"]
    assert check_machine(settings, ["trainer.device"]) == []
    assert check_machine(TrainerSettings(device="cpu", cuda_graph=True), ["trainer.cuda_graph"]) == []
