import io

import numpy as np
import pytest
import torch
from PIL import Image

from imcswav.clustering import Clustering, thumbnails
from imcswav.clustering.thumbnails import choose, load_thumbnails, make_thumbnails


def clustering(count, clusters=3, **more):
    rng = np.random.default_rng(0)
    probabilities_NK = rng.dirichlet(np.ones(clusters), count).astype(np.float32)
    names = more.pop("names", [f"{i}.png" for i in range(count)])
    features_NF = rng.normal(size=(count, 4)).astype(np.float32)
    return Clustering(names, features_NF, probabilities_NK, tuple(range(clusters)), **more)


def colours(count):
    """A colour an image, far enough apart to survive JPEG."""
    return np.random.default_rng(1).integers(0, 256, (count, 3)).astype(np.uint8)


def tile_of(made, image):
    place = made.images.index(image)
    sheet = Image.open(io.BytesIO(made.sheets[place // 256]))
    x, y = place % 16 * made.tile, place % 256 // 16 * made.tile
    return np.asarray(sheet.crop((x, y, x + made.tile, y + made.tile)))


def test_each_image_has_its_own_tile_and_gallery_images_a_larger_picture(tmp_path):
    colour_N3 = colours(300)
    images = torch.from_numpy(colour_N3)[:, :, None, None].expand(300, 3, 20, 20)
    make_thumbnails(clustering(300), tmp_path, images)
    made = load_thumbnails(tmp_path)
    assert sorted(made.images) == list(range(300))
    assert (made.tile, len(made.sheets)) == (32, 2)
    for image in range(300):
        assert np.abs(tile_of(made, image)[16, 16].astype(int) - colour_N3[image]).max() < 12
    for image, jpeg in made.large.items():
        picture = Image.open(io.BytesIO(jpeg))
        assert picture.size == (20, 20)
        assert np.abs(np.asarray(picture)[10, 10].astype(int) - colour_N3[image]).max() < 12


@pytest.mark.parametrize(("channels", "shown"), [(1, [9, 9, 9]), (5, [9, 60, 200])])
def test_channels(tmp_path, channels, shown):
    values = torch.tensor([9, 60, 200, 1, 2][:channels], dtype=torch.uint8)
    make_thumbnails(clustering(6), tmp_path, values.view(1, -1, 1, 1).expand(6, channels, 16, 16))
    assert np.abs(tile_of(load_thumbnails(tmp_path), 3)[8, 8].astype(int) - shown).max() < 12


def test_arrays_in_files_are_shown_as_they_were_decoded(tmp_path):
    found = clustering(6, root=str(tmp_path), paths=[f"{i}.npy" for i in range(6)])
    values = torch.tensor([9, 60, 200, 1, 2], dtype=torch.uint8)
    make_thumbnails(found, tmp_path, values.view(1, -1, 1, 1).expand(6, 5, 16, 16))
    assert np.abs(tile_of(load_thumbnails(tmp_path), 3)[8, 8].astype(int) - [9, 60, 200]).max() < 12


def test_files_are_read_from_their_folder_and_lost_ones_left_out(tmp_path):
    paths = []
    for i in range(6):
        Image.new("RGB", (400, 300), (40 * i, 0, 0)).save(tmp_path / f"{i}.jpg")
        paths.append(f"{i}.jpg")
    (tmp_path / "2.jpg").unlink()
    (tmp_path / "4.jpg").write_bytes(b"no image")
    make_thumbnails(clustering(6, names=[f"name {i}" for i in range(6)], root=str(tmp_path), paths=paths), tmp_path)
    made = load_thumbnails(tmp_path)
    assert sorted(made.images) == [0, 1, 3, 5]
    assert sorted(made.large) == [0, 1, 3, 5]
    assert abs(int(tile_of(made, 5)[20, 20, 0]) - 200) < 12
    assert Image.open(io.BytesIO(made.large[5])).size == (128, 128)


def test_a_gallery_comes_before_the_random_sample_and_each_cluster_has_its_share(monkeypatch):
    found = clustering(1000)
    gallery, shown = choose(found, 200)
    wanted = {int(i) for k in range(3) for i in [*found.representatives(k, 12), *found.borderline(k, 8)]}
    assert set(gallery) == wanted
    assert shown[: len(gallery)] == gallery
    assert len(set(shown)) == 200
    few, _ = choose(found, 6)
    assert {int(found.clusters_N[i]) for i in few} == {0, 1, 2}


def test_no_images_at_hand_and_no_file(tmp_path):
    assert load_thumbnails(tmp_path) is None
    make_thumbnails(clustering(6), tmp_path)
    assert list(load_thumbnails(tmp_path).images) == []
    (tmp_path / "clustering" / thumbnails.FILE).write_bytes(b"torn")
    assert load_thumbnails(tmp_path) is None
