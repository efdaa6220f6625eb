"""How many threads a calculation on the CPU takes, where the library that does it takes too many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LARGE = 2**26
"""Values of a table whose products are worth several threads: 131,072 images with 512 features."""


_lock = threading.Lock()
_inside: list[Any] = []
"""The limit of the first that is within, then a None for each other one: the limit is the process's."""


@contextmanager
def one_blas_thread(values: int = 0) -> Iterator[None]:
    """Within, matrix products of NumPy's and SciPy's BLAS take one thread, unless the table has many ``values``.

    For scikit-learn on some thousand images, whose products are small: several threads gain nothing there, and where
    something else keeps a core busy they wait for each other a hundred times as long as they calculate
    (docs/performance.md). Scikit-learn's own loops, and torch where it brings its own BLAS, take as many as before.
    Other Python threads are limited, too, until the last of those within leaves.
    """
    if values > LARGE:
        yield
        return
    import scipy.linalg.blas  # noqa: F401 -- SciPy's own library, which would come later, with all threads
    from threadpoolctl import threadpool_limits

    with _lock:
        _inside.append(None if _inside else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            if len(_inside) == 1:
                _inside[0].restore_original_limits()
            _inside.pop()
