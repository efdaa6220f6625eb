"""How many threads a calculation on the CPU takes, where the library that does it takes too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 2**26
"""Values of a table whose products are worth several threads: 131,072 images with 512 features."""


@contextmanager
def one_blas_thread(values: int = 0) -> Iterator[None]:
    """Within, NumPy's and SciPy's matrix products take one thread, unless the table has many ``values``.

    For scikit-learn on some thousand images, whose products are small: several threads gain nothing there, and where
    something else keeps a core busy they wait for each other a hundred times as long as they calculate
    (docs/performance.md). torch, and scikit-learn's own loops, take as many as before.
    """
    if values > LARGE:
        yield
        return
    import scipy.linalg.blas  # noqa: F401 -- SciPy's own library, which would come later, with all threads
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
