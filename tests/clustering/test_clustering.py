import csv
import math

import numpy as np
import pytest
from clustering.made import clustering

from imcswav.clustering import OUTLIER
from imcswav.clustering.store import FOLDER, load_unedited, save
from imcswav.clustering.tables import write_tables
from imcswav.errors import RunError


def test_the_most_probable_cluster_counts_by_its_number():
    found = clustering(ids=(2, 5, 6, 9))
    assert found.clusters_N.tolist() == [(2, 5, 6, 9)[place] for place in found.probabilities_NK.argmax(1)]
    for image, row in enumerate(found.probabilities_NK):
        assert found.second_N[image] == (2, 5, 6, 9)[sorted(range(4), key=lambda k: -row[k])[1]]
        assert found.confidence_N[image] == max(row)


def test_doubtful_images_are_outliers_and_what_was_set_by_hand_stays():
    plain = clustering()
    doubtful = int(plain.confidence_N.argmin())
    found = clustering(threshold=0.6, given={doubtful: 3, 1: OUTLIER})
    assert found.clusters_N[doubtful] == 3
    assert found.clusters_N[1] == OUTLIER
    for image in set(range(len(found))) - {doubtful, 1}:
        expected = OUTLIER if plain.confidence_N[image] < 0.6 else plain.clusters_N[image]
        assert found.clusters_N[image] == expected


def test_distances_are_those_to_the_mean_direction_of_the_cluster():
    found = clustering(threshold=0.4)
    for image in range(len(found)):
        cluster = found.clusters_N[image]
        if cluster == OUTLIER:
            assert math.isnan(found.distance_N[image])
            continue
        total = sum(found.features_NF[i] / np.linalg.norm(found.features_NF[i]) for i in found.members(cluster))
        own = found.features_NF[image]
        cosine = own @ total / np.linalg.norm(own) / np.linalg.norm(total)
        assert found.distance_N[image] == pytest.approx(1 - cosine, abs=1e-5)


def test_representatives_are_nearest_and_borderline_images_least_sure():
    given = int(clustering().members(1)[0])
    found = clustering(given={given: 1})
    nearest = found.representatives(1, 3)
    others = set(found.members(1)) - set(nearest)
    assert max(found.distance_N[nearest]) <= min(found.distance_N[list(others)])
    least = found.borderline(1, 2)
    assert given not in least
    assert max(found.confidence_N[least]) <= min(found.confidence_N[list(set(found.members(1)) - {*least, given})])


def test_an_empty_cluster_and_a_single_one_are_no_trouble(tmp_path):
    certain_NK = np.tile(np.float32([1, 0, 0, 0]), (40, 1))
    found = clustering(probabilities_NK=certain_NK)
    assert not found.centres_KF[1:].any()
    assert len(found.representatives(2, 5)) == 0
    write_tables(found, tmp_path)
    single = clustering(probabilities_NK=certain_NK[:, :1], ids=(7,))
    assert set(single.second_N) == {OUTLIER}
    write_tables(single, tmp_path)


def test_what_is_stored_comes_back_even_names_that_are_no_text(tmp_path):
    strange = "a\udcff/b.png"
    found = clustering(
        splits=["train"] * 40, labels=["cat", ""] * 20, root="/photos", duplicates={3: 1}, paths=[strange] * 40
    )
    save(found, tmp_path)
    again = load_unedited(tmp_path)
    for name in ("names", "splits", "labels", "root", "paths", "ids", "duplicates"):
        assert getattr(again, name) == getattr(found, name)
    np.testing.assert_array_equal(again.features_NF, found.features_NF)
    np.testing.assert_array_equal(again.probabilities_NK, found.probabilities_NK)


@pytest.mark.parametrize("break_it", ["remove", "cut", "format"])
def test_a_clustering_that_cant_be_read_is_one_sentence(tmp_path, break_it):
    save(clustering(), tmp_path)
    images, arrays = tmp_path / FOLDER / "images.json", tmp_path / FOLDER / "arrays.npz"
    if break_it == "remove":
        images.unlink()
    elif break_it == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-30])
    else:
        images.write_text(images.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(RunError, match=r"imcswav report|upgrade") as caught:
        load_unedited(tmp_path)
    assert "\n" not in str(caught.value)


def test_tables_say_of_every_image_and_cluster_what_is_known(tmp_path):
    found = clustering(titles={2: "deer, red"}, threshold=0.5, duplicates={4: 2}, given={0: 2}, labels=["x"] * 40)
    write_tables(found, tmp_path)
    labels, clusters = (
        list(csv.DictReader((tmp_path / name).open(encoding="utf-8"))) for name in ("labels.csv", "clusters.csv")
    )
    assert [int(row["cluster"]) for row in labels] == found.clusters_N.tolist()
    assert labels[0]["name"] == "deer, red"
    assert (labels[0]["set_by_hand"], labels[1]["set_by_hand"]) == ("yes", "")
    assert labels[4]["near_duplicate_of"] == labels[2]["image"]
    assert sum(int(row["size"]) for row in clusters) == 40
    assert clusters[-1]["name"] == "outliers"
    for row in clusters[:-1]:
        members = found.members(int(row["cluster"]))
        assert float(row["share"]) == pytest.approx(len(members) / 40, abs=1e-4)
        assert float(row["cohesion"]) == pytest.approx(1 - found.distance_N[members].mean(), abs=1e-4)
        marked = {line["image"] for line in labels if line["representative"] and line["cluster"] == row["cluster"]}
        assert set(row["representatives"].split("; ")) <= marked
