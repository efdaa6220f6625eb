import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from imcswav.cli import main
from imcswav.clustering import Clustering, store
from imcswav.clustering.thumbnails import Thumbnails, make_thumbnails
from imcswav.errors import RunError
from imcswav.files import write_csv
from imcswav.report import BUDGET, write_report
from imcswav.report.build import build_page
from imcswav.report.files import curves, reproduce, table
from imcswav.report.health import cluster_health, effective_clusters
from imcswav.report.pictures import Pictures
from imcswav.report.projection import project, sampled


def clustering(count=60, clusters=3, **more):
    rng = np.random.default_rng(0)
    probabilities_NK = rng.dirichlet(np.ones(clusters), count).astype(np.float32)
    features_NF = rng.normal(size=(count, 5)).astype(np.float32)
    names = [f"{i}.png" for i in range(count)]
    return Clustering(names, features_NF, probabilities_NK, tuple(range(clusters)), **more)


class Outline(HTMLParser):
    """The page's sections, scripts and attributes, read by other means than a browser's."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.scripts, self.policy, self.addresses, self._script = [], [], "", [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "section":
            self.sections.append(attrs["id"])
        if tag == "script":
            self._script = attrs.get("type", "run")
            self.scripts.append((self._script, ""))
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)


def outline(run):
    return Outline((run / "report.html").read_text(encoding="utf-8"))


def test_nothing_but_a_clustering_is_enough(tmp_path):
    write_report(clustering(), tmp_path)
    page = outline(tmp_path)
    assert page.sections == ["overview", "gallery", "map", "health", "made"]
    assert all(address.startswith(("#", "data:")) for address in page.addresses)


def test_every_file_of_a_run_has_its_place(tmp_path):
    found = clustering(labels=["a", "b", ""] * 20, splits=["train"] * 40 + ["test"] * 20, duplicates={3: 1})
    images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    make_thumbnails(found, tmp_path, images)
    (tmp_path / "summary.json").write_text(json.dumps({"metrics": ["acc"], "acc": 0.25, "recipe": "mine"}))
    (tmp_path / "environment.json").write_text(
        json.dumps({"command": ["imcswav", "run", "a b"], "packages": {"torch": "9"}})
    )
    (tmp_path / "recipe.toml").write_text("clusters = 3 # <b>")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.5}\n')
    (tmp_path / "quality.csv").write_text("image,finding,detail\na.png,blank,\nb.png,blank,\n")
    (tmp_path / "skipped.csv").write_text("image,reason\nc.png,the file is empty\n")
    write_report(found, tmp_path)
    page = outline(tmp_path)
    assert page.sections == ["overview", "gallery", "map", "curves", "health", "confusion", "files", "made"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (
        "Clusters of mine", "60 (40 train, 20 test)", "ACC 0.250", "blank: 2", "the file is empty",
        "imcswav run &#39;a b&#39;", "clusters = 3 # &lt;b&gt;",
    ):  # fmt: skip
        assert said in text


def test_only_the_pages_own_scripts_may_run_and_none_may_connect(tmp_path):
    write_report(clustering(), tmp_path)
    page = outline(tmp_path)
    run = [text for kind, text in page.scripts if kind == "run"]
    hashes = {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert len(run) == 2
    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].replace("'", "").split()) == {"unsafe-eval", *hashes}
    assert not {"connect-src", "frame-src", "font-src", "object-src"} & rules.keys()


def test_names_can_not_leave_the_data(tmp_path):
    hostile = ["</script><b>", "<!--", "a&amp;b", '"\\u003c', "\u2028"]
    found = clustering(len(hostile))
    found = Clustering(hostile, found.features_NF, found.probabilities_NK, found.ids)
    write_report(found, tmp_path)
    data = next(text for kind, text in outline(tmp_path).scripts if kind == "application/json")
    assert not re.search("[<>&]", data)
    assert sorted(json.loads(data)["names"]) == sorted(hostile)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 12])
def test_few_images(tmp_path, count):
    write_report(clustering(count), tmp_path)
    assert outline(tmp_path).sections


def test_outliers_empty_clusters_and_images_without_a_picture(tmp_path):
    found = clustering(40, given={0: -1, 1: -1, 2: 2}, titles={2: "two"})
    make_thumbnails(found, tmp_path)
    emptied = Clustering(
        found.names, found.features_NF, np.eye(4, dtype=np.float32)[np.zeros(40, int)], (0, 1, 2, 9), given=found.given
    )
    write_report(emptied, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "outliers" in text
    assert "No image is in it." in text
    assert "no thumbnails" in text or 'class="named"' in text


def test_the_gallery_names_images_by_their_place(tmp_path):
    found = clustering()
    page = build_page(found, tmp_path, None, budget=0, edits=0)
    for cluster in page.clusters:
        names = [page.data["names"][at] for at in cluster["representatives"]]
        assert names == [found.names[i] for i in found.representatives(cluster["id"], 12)]
        assert not set(cluster["representatives"]) & set(cluster["borderline"])
    assert [page.data["cluster"][at] for at in range(60)] == [int(found.clusters_N[i]) for i in page.images]


def test_a_confusion_counts_labels_in_clusters(tmp_path):
    found = clustering(labels=["a", "b", ""] * 20)
    table = build_page(found, tmp_path, None, budget=0, edits=0).confusion
    for row in table["rows"]:
        for cluster, (count, share) in zip(table["columns"], row["cells"], strict=True):
            inside = [i for i in range(60) if found.labels[i] == row["label"]]
            assert count == sum(found.clusters_N[i] == cluster for i in inside)
            assert share == pytest.approx(count / len(inside))


def test_health_against_plain_loops():
    found = clustering(50, 4)
    unit = [row / math.sqrt(sum(float(x) ** 2 for x in row)) for row in found.features_NF.astype(np.float64)]
    centres = {}
    for k in found.ids:
        total = sum(unit[i] for i in found.members(k))
        centres[k] = total / math.sqrt(sum(x * x for x in total))
    for k, health in cluster_health(found).items():
        members = list(found.members(k))
        others = {j: 1 - sum(centres[k] * centres[j]) for j in found.ids if j != k}
        assert health.size == len(members)
        assert health.share == pytest.approx(len(members) / 50)
        assert health.cohesion == pytest.approx(
            sum(sum(unit[i] * centres[k]) for i in members) / len(members), abs=1e-5
        )
        assert health.separation == pytest.approx(min(others.values()), abs=1e-5)
        assert health.nearest == min(others, key=others.get)
        assert health.confidence == pytest.approx(
            sum(max(map(float, found.probabilities_NK[i])) for i in members) / len(members), abs=1e-5
        )


def test_health_warns_of_what_is_odd():
    sizes = [100, 2, 40, 40, 0]
    clusters = np.repeat(np.arange(5), sizes)
    rng = np.random.default_rng(0)
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])
    features_NF = (directions[clusters] + rng.normal(0, 0.3, (len(clusters), 3))).astype(np.float32)
    probabilities_NK = np.full((len(clusters), 5), 0.1, np.float32)
    probabilities_NK[np.arange(len(clusters)), clusters] = np.where(clusters == 2, 0.4, 0.9)
    found = Clustering(["x"] * len(clusters), features_NF, probabilities_NK, (0, 1, 2, 3, 4), {3: "three"})
    said = {k: " ".join(health.warnings) for k, health in cluster_health(found).items()}
    assert said[0] == ""
    assert said[1].startswith("Small: 2")
    assert "Doubtful" in said[2]
    assert "Close to three (3)" in said[2]
    assert "Close to cluster 2" in said[3]
    assert said[4] == "No image is in it."


def test_effective_clusters():
    assert effective_clusters(np.array([5, 5, 5, 0])) == pytest.approx(3)
    assert effective_clusters(np.array([7])) == pytest.approx(1)
    assert effective_clusters(np.array([0, 0])) == 0


def test_the_map_is_kept_until_the_features_change(tmp_path, monkeypatch):
    found = clustering(40)
    first = project(found, range(40), tmp_path)
    assert set(first) == {"pca", "tsne"} or set(first) == {"pca", "umap"}
    monkeypatch.setattr("imcswav.report.projection._embed", lambda *_: 1 / 0)
    again = project(found, range(40), tmp_path)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    with pytest.raises(ZeroDivisionError):
        project(found, range(39), tmp_path)


def test_pca_keeps_the_plane_that_varies_most(tmp_path):
    rng = np.random.default_rng(0)
    features_NF = np.full((30, 6), 10.0)
    features_NF[:, 1] += 3 * rng.normal(size=30)
    features_NF[:, 4] += rng.normal(size=30)
    found = Clustering([str(i) for i in range(30)], features_NF.astype(np.float32), np.ones((30, 1), np.float32), (0,))
    placed_M2 = project(found, range(30), tmp_path)["pca"]
    assert abs(np.corrcoef(placed_M2[:, 0], features_NF[:, 1])[0, 1]) > 0.99
    assert abs(placed_M2).max() == pytest.approx(1)


def test_images_outside_the_sample_stand_among_their_nearest(tmp_path, monkeypatch):
    monkeypatch.setattr("imcswav.report.projection.SAMPLE", 30)
    rng = np.random.default_rng(0)
    corner = np.arange(60) % 2
    features_NF = (np.eye(5)[corner] + rng.normal(0, 0.02, (60, 5))).astype(np.float32)
    found = Clustering([str(i) for i in range(60)], features_NF, np.ones((60, 1), np.float32), (0,))
    placed_M2 = next(value for name, value in project(found, range(60), tmp_path).items() if name != "pca")
    centres = [placed_M2[[i for i in sampled(60) if corner[i] == side]].mean(0) for side in (0, 1)]
    nearest = [int(np.linalg.norm(placed - centres[1]) < np.linalg.norm(placed - centres[0])) for placed in placed_M2]
    assert nearest == corner.tolist()


def test_pictures_keep_within_the_budget():
    made = Thumbnails(16, list(range(600)), [b"x" * 3000] * 3, dict.fromkeys(range(20), b"y" * 300))
    whole = Pictures.within(1e6, made, 16)
    assert (len(whole.sheets), len(whole.large), len(whole.tiles), whole.note) == (3, 20, 600, "")
    for budget in (100, 2_000, 5_000, 9_000, 14_000):
        some = Pictures.within(budget, made, 16)
        assert sum(map(len, some.sheets)) + sum(map(len, some.large.values())) <= budget
        assert len(some.tiles) == min(600, 256 * len(some.sheets))
        assert list(some.large) == list(range(len(some.large)))
        assert "budget" in some.note


def test_curves_are_thinned_and_end_at_the_last_point(tmp_path):
    rows = [{"step": step, "loss": step / 7, "eval/acc": None} for step in range(5000)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    panels = curves(tmp_path / "metrics.jsonl")
    losses = next(panel for panel in panels if panel["title"] == "losses")["series"][0]
    assert len(losses["x"]) <= 400
    assert (losses["x"][-1], losses["y"][-1]) == (4999, 4999 / 7)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "lo')
    assert curves(tmp_path / "metrics.jsonl") == []


def test_images_that_are_all_one_point_have_a_map(tmp_path):
    """t-SNE would divide by their spread, and crash the process."""
    same = clustering(60)
    for features_NF in (np.zeros((60, 5)), np.tile([0, 1, 0, 0, 0], (60, 1))):
        found = Clustering(same.names, features_NF.astype(np.float32), same.probabilities_NK, same.ids)
        placed = project(found, range(60), tmp_path / str(features_NF.sum()))
        assert set(placed) > {"pca"}
        assert not any(points_M2.any() for points_M2 in placed.values())


def test_a_score_of_nothing_is_a_score(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"metrics": ["acc", "ari", "nmi"], "acc": 0.5, "ari": 0.0}))
    write_report(clustering(12), tmp_path)
    assert "ACC 0.500, ARI 0.000<" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tables_show_names_as_files_have_them(tmp_path):
    write_csv(tmp_path / "skipped.csv", ("image", "reason"), [("=bad.png", "is no image")])
    assert table(tmp_path / "skipped.csv")["rows"] == [["=bad.png", "is no image"]]


def test_a_clustering_without_a_byte_is_one_that_cant_be_read(tmp_path, capsys):
    store.save(clustering(12), tmp_path)
    (tmp_path / "clustering" / "map.npz").write_bytes(b"")  # only kept to be faster
    write_report(clustering(12), tmp_path)
    (tmp_path / "clustering" / "arrays.npz").write_bytes(b"")
    with pytest.raises(RunError, match="holds no readable clustering"):
        Clustering.of(tmp_path)


def test_broken_tables_say_nothing(tmp_path):
    assert table(tmp_path / "none.csv") == {}
    (tmp_path / "empty.csv").write_text("")
    assert table(tmp_path / "empty.csv") == {}


def test_commands_to_reproduce_are_quoted(tmp_path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "recipe.toml").write_text("")
    commands = [command for _, command in reproduce(run, {"command": ["/x/imcswav", "run", "a;b"]})]
    assert commands[0] == "imcswav run 'a;b'"
    assert all(f"'{run}" in command for command in commands[1:])


def test_what_the_command_line_did_not_start_is_not_said_to_be_its(tmp_path):
    (tmp_path / "recipe.toml").write_text('[data]\nname = "array"\n')
    for program in ("train.py", "/x/ipykernel_launcher.py"):
        assert len(reproduce(tmp_path, {"command": [program, "--lr", "3"]})) == 1  # the page anew
    for program in ("/x/imcswav", "C:/x/imcswav.exe", "/x/imcswav/__main__.py"):
        assert reproduce(tmp_path, {"command": [program, "run", "digits"]})[0][1] == "imcswav run digits"


def test_the_command(tmp_path, capsys):
    store.save(clustering(), tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path)])
    assert left.value.code == 0
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)])
    assert "report.yours-1.html" in capsys.readouterr().out
    assert (tmp_path / "report.yours-1.html").read_text() == "mine"
    out = tmp_path / "other.html"
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path), "--out", str(out), "--budget", "8"])
    assert left.value.code == 0
    assert out.stat().st_size < 8e6
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path), "--out", str(out)])
    assert left.value.code == 2


def test_a_page_stays_within_its_budget(tmp_path):
    noise = torch.randint(0, 256, (400, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = clustering(400)
    make_thumbnails(found, tmp_path, noise)
    write_report(found, tmp_path, budget=6)
    assert 5.3e6 < (tmp_path / "report.html").stat().st_size < 6e6
    write_report(found, tmp_path)
    assert 6e6 < (tmp_path / "report.html").stat().st_size < BUDGET * 1e6


def test_a_folder_without_clustering_is_told(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        Clustering.of(tmp_path)
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(RunError, match="holds no clustering yet; make it with: imcswav report"):
        Clustering.of(tmp_path)
