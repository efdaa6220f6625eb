"""Clusterings and runs to edit."""

import numpy as np
from tiny import FACTS, images, learner

from imcswav.clustering import Clustering
from imcswav.clustering.store import save
from imcswav.clustering.tables import write_tables
from imcswav.model import Model
from imcswav.plugins import registry

COUNT = 30


def clustering(probabilities, features=None, **more):
    """Images "0", "1", … with these probabilities; features are all the same where none are given."""
    table = np.asarray(probabilities, np.float32)
    features = np.ones((len(table), 2)) if features is None else np.asarray(features)
    names = [str(number) for number in range(len(table))]
    return Clustering(names, features.astype(np.float32), table, tuple(range(table.shape[1])), **more)


def make_run(folder):
    """A run whose model sorts 30 images into three clusters, and the clustering of them."""
    model = Model(learner().eval(), facts=FACTS, clusters=3)
    embedding = model.embed(images(COUNT))
    model.clusterer = registry().get("clusterer", "spherical_kmeans").Config().build(clusters=3, seed=0)
    model.clusterer.fit(embedding.features.numpy())
    model.save(folder / "model")
    stored = clustering(model.assign(embedding), embedding.features.numpy(), splits=["train"] * COUNT)
    save(stored, folder)
    write_tables(stored, folder)
    return folder


def same(one, other):
    """Whether two clusterings are the same to the bit."""
    arrays = ("features_NF", "probabilities_NK", "clusters_N")
    rest = ("ids", "titles", "given", "threshold", "names")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and all(
        getattr(one, name) == getattr(other, name) for name in rest
    )
