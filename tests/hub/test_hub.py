"""Models to and from the hub: pulls from a small server on this machine, pushes to a stand-in for the client."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from cli_calls import call
from conftest import TINY
from tiny import images

import imcswav
from imcswav.clustering.edits import Assign, Rename
from imcswav.clustering.edits.kept import Kept
from imcswav.errors import ImcswavError, RunError
from imcswav.hub import FILES, pull, push_run

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    imcswav.run(TINY, {"trainer.max_steps": 3}, out=folder, warn=lambda problem: None)
    return folder


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: what a repository holds, and its files."""

    repos: dict = {}
    asked: list = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        self.asked.append(path)
        for repo, files in self.repos.items():
            if path.startswith(f"api/models/{repo}"):
                listed = [
                    {"rfilename": name, "type": "file", "path": name, "oid": COMMIT, "size": len(files[name])}
                    for name in files
                ]
                known = {"id": repo, "sha": COMMIT, "siblings": listed}
                return self._answer(json.dumps(listed if "/tree/" in path else known).encode(), "application/json")
            name = path.removeprefix(f"{repo}/resolve/{COMMIT}/")
            if name in files:
                return self._answer(files[name], "application/octet-stream")
        return self._answer(b"", "text/plain", 404, {"X-Error-Code": "RepoNotFound"})

    def _answer(self, body, kind, code=200, more=None):
        self.send_response(code)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, "ETag": '"e"'}
        for name, value in (headers | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()


def imcswav_at(port, *words, cwd):
    """The command line of a process whose hub is on this machine."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(cwd / "hf"), "PYTHONPATH": _package()}
    env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    command = [sys.executable, "-m", "imcswav", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


def _package():
    return str(Path(imcswav.__file__).parents[1])


def test_pulled_is_what_was_trained_and_no_other_file_is_fetched(run, server, tmp_path):
    held = {name: (run / "model" / name).read_bytes() for name in FILES}
    others = {"pytorch_model.bin": b"pickled", "README.md": b"text", "sub/config.json": b"{}", "run.py": b"code"}
    Hub.repos = {"me/model": held | others}
    Hub.asked.clear()
    done = imcswav_at(server, "pull", "me/model", "new/model", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Written: new/model" in done.stdout
    folder = tmp_path / "new" / "model"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    fetched = {path.rpartition(f"{COMMIT}/")[2] for path in Hub.asked if "/resolve/" in path}
    assert fetched == set(FILES)
    pixels = images(5, size=8, channels=1)
    assert np.array_equal(imcswav.load(folder).predict_proba(pixels), imcswav.load(run).predict_proba(pixels))


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ("me/other", "holds no model of imcswav: it has no weights.safetensors"),
        ("me/none", "or has no such repository"),
    ],
)
def test_what_is_no_model_of_ours_is_one_sentence(repo, said, server, tmp_path):
    Hub.repos = {"me/other": {"config.json": b"{}", "pytorch_model.bin": b"pickled"}}
    done = imcswav_at(server, "pull", repo, "model", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("command", ["pull", "push"])
def test_no_network_is_one_sentence(command, run, tmp_path):
    words = ("pull", "me/model", "model") if command == "pull" else ("push", run, "me/model")
    done = imcswav_at(9, *words, cwd=tmp_path)  # nobody listens there
    assert done.returncode == 2
    assert "The hub can't be used for me/model" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_a_filled_folder_is_refused_before_the_hub_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", pytest.fail)
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(RunError, match="is not an empty folder; nothing is overwritten"):
            pull("me/model", place)


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the client: what it was asked, and what a repository got."""
    hub = SimpleNamespace(made=[], files={}, fails=None)

    class Client:
        def create_repo(self, repo, *, private, exist_ok):
            if hub.fails:
                raise hub.fails
            assert exist_ok
            hub.made.append((repo, private))
            return huggingface_hub.RepoUrl(f"https://huggingface.co/me/{repo.split('/')[-1]}")

        def list_repo_files(self, repo):
            return [".gitattributes", *hub.files]

        def upload_folder(self, *, repo_id, folder_path, commit_message, delete_patterns):
            assert repo_id == "me/model"
            hub.files = {name: text for name, text in hub.files.items() if name not in (delete_patterns or ())}
            hub.files |= {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}

    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    return hub


def test_push_uploads_model_and_card_alone_and_in_private(run, hub, tmp_path, capsys):
    code, out, _ = call(capsys, "push", run, "model")
    assert code == 0
    assert "Pushed: https://huggingface.co/me/model" in out
    assert hub.made == [("model", True)]
    assert set(hub.files) == {*FILES, "README.md"}
    for name in FILES:
        (tmp_path / name).write_bytes(hub.files[name])
    pixels = images(5, size=8, channels=1)
    assert np.array_equal(imcswav.load(tmp_path).predict_proba(pixels), imcswav.load(run).predict_proba(pixels))


def test_the_card_has_the_figures_and_no_path(run, hub):
    Kept((0, 1, 2), [Rename(cluster=0, name="zeros"), Assign(images=("private.png",), cluster=1)]).write(run / "model")
    push_run(run, "me/model", public=True)
    assert "private.png" not in hub.files["edits.json"].decode()
    assert hub.made == [("me/model", False)]
    card = hub.files["README.md"].decode()
    summary = json.loads((run / "summary.json").read_text())
    for name in ("acc", "nmi", "ari", "knn"):
        assert f"| {name.upper()} | {summary[name]:.4f} | measured |" in card
    for said in (
        "3 (zeros)", "grey, 8 × 8 pixels", "1797 images", "imcswav.load(", 'imcswav.pull("me/model", "model")',
        "none chosen yet", summary["protocol"],
    ):  # fmt: skip
        assert said in card
    assert "license:" not in card.split("---")[1]
    assert str(run) not in card
    assert str(run) not in hub.files["config.json"].decode()


def test_a_repository_with_a_model_is_left_alone_unless_update_is_asked_for(run, hub):
    hub.files = {"README.md": b"my words", "weights.safetensors": b"old"}
    with pytest.raises(RunError, match=r"me/model has a README.md already, and nothing is overwritten; .*--update"):
        push_run(run, "me/model")
    assert hub.files == {"README.md": b"my words", "weights.safetensors": b"old"}
    push_run(run, "me/model", update=True)
    assert hub.files["README.md"] == b"my words"
    assert hub.files["weights.safetensors"] != b"old"


def test_what_is_wrong_here_is_no_fault_of_the_hub_where_nothing_is_made(run, hub, monkeypatch):
    def broken(*rest):
        raise KeyError("trained_on")

    monkeypatch.setattr("imcswav.hub.card", broken)
    with pytest.raises(KeyError, match="trained_on"):
        push_run(run, "model")
    assert hub.made == []


def test_what_the_hub_refuses_is_one_sentence(run, hub):
    hub.fails = huggingface_hub.errors.LocalTokenNotFoundError("Token is required\nbut no token found.")
    with pytest.raises(ImcswavError, match="log in with: hf auth login"):
        push_run(run, "me/model")
    hub.fails = ValueError("a name\ncan't be so")
    with pytest.raises(ImcswavError, match=r"can't be used for me/model \(ValueError: a name\); check") as caught:
        push_run(run, "me/model")
    assert "\n" not in str(caught.value)


def test_only_finished_runs_are_pushed(tmp_path, hub):
    with pytest.raises(RunError, match="no run folder"):
        push_run(tmp_path, "me/model")
    assert hub.made == []


def test_edits_of_the_model_before_dont_stay(run, hub):
    (run / "model" / "edits.json").unlink(missing_ok=True)
    hub.files = {"config.json": b"{}", "weights.safetensors": b"old", "edits.json": b"old"}
    push_run(run, "me/model", update=True)
    assert "edits.json" not in hub.files
