"""Models on the Hugging Face hub: ``push_run`` and ``pull``.

Only the files of ``model/`` travel: ``config.json``, ``weights.safetensors`` and, without names of images, the edits
that were made. So nothing of a stranger's is ever unpickled. The hub's client is called for whole folders: its
ModelHubMixin would be a base class of Model that owns config.json and the arguments of the class, and does less than
the few calls here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imcswav.errors import ImcswavError, RunError
from imcswav.hub.card import card
from imcswav.model import Model
from imcswav.runs import RunFolder

FILES = ("config.json", "weights.safetensors")
EDITS = "edits.json"
CARD = "README.md"
SECONDS = 10.0
"""How long the hub may take to say whether it is there."""


def push_run(run: str | Path, repo: str, public: bool = False, update: bool = False) -> str:
    """Upload the model of a finished run with a model card; returns the repository's address.

    ``repo`` is "name" or "owner/name", made where it isn't there, private unless ``public``. ``update`` adds a commit
    to a repository that has a model already and leaves its README.md alone.

    Raises RunError when the run isn't finished or a model is in the repository, ImcswavError for what the hub says.
    """
    folder = RunFolder.open(run)
    summary, model = folder.summary(), Model.load(run, "cpu")
    model.edits = None if model.edits is None else model.edits.shared()
    with tempfile.TemporaryDirectory() as place:
        model.save(Path(place))
        card(model, folder, summary, repo)  # what is wrong here is no fault of the hub, where nothing is made yet
        return _push(model, folder, summary, Path(place), repo, public=public, update=update)


def _push(
    model: Model, folder: RunFolder, summary: dict[str, Any], place: Path, repo: str, *, public: bool, update: bool
) -> str:
    from huggingface_hub import HfApi

    with _told(repo):
        api = HfApi()
        made = api.create_repo(repo, private=not public, exist_ok=True)
        taken = {CARD, EDITS, *FILES} & set(api.list_repo_files(made.repo_id))
        if taken and not update:
            raise RunError(
                f"The repository {made.repo_id} has a {min(taken)} already, and nothing is overwritten; push to "
                f"another name, or add a commit with --update, which leaves its README.md as it is."
            )
        if CARD not in taken:
            Path(place, CARD).write_text(card(model, folder, summary, made.repo_id), encoding="utf-8")
        stale = [EDITS] if model.edits is None else None  # of a model that was there before
        api.upload_folder(
            repo_id=made.repo_id, folder_path=place, commit_message="Model of imcswav", delete_patterns=stale
        )
    return str(made)


def pull(repo: str, folder: str | Path, revision: str | None = None) -> Path:
    """Download a model into a new or empty folder, which ``imcswav.load`` reads; returns the folder.

    ``revision`` is a branch, tag or commit. Raises RunError when the folder isn't empty or the repository holds no
    model, ImcswavError for what the hub says; the folder is there with the whole model or not at all.
    """
    from huggingface_hub import HfApi, snapshot_download

    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} exists and is not an empty folder; nothing is overwritten: give another DIR.")
    with _told(repo):
        info = HfApi().model_info(repo, revision=revision, timeout=SECONDS)
        if missing := set(FILES) - {file.rfilename for file in info.siblings or ()}:
            raise RunError(f"The repository {repo} holds no model of imcswav: it has no {min(missing)}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:
            fetched = Path(place, "model")
            snapshot_download(repo, revision=info.sha, local_dir=fetched, allow_patterns=[*FILES, EDITS])
            shutil.rmtree(fetched / ".cache", ignore_errors=True)  # the client's own notes
            if target.exists():
                target.rmdir()
            fetched.rename(target)
    return target


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """Make one sentence of whatever the hub or the way to it says."""
    from huggingface_hub import errors

    try:
        yield
    except ImcswavError:
        raise
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.LocalTokenNotFoundError) as error:
        raise ImcswavError(
            f"The hub lets nobody unknown to it use {repo}, or has no such repository; check the name, or log in with: "
            f"hf auth login"
        ) from error
    except Exception as error:  # no network, no room on the disk, an impossible name: each has errors of its own
        reason = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(". ")
        raise ImcswavError(
            f"The hub can't be used for {repo} ({type(error).__name__}: {reason}); check the name and the network, "
            f"then try again."
        ) from error
