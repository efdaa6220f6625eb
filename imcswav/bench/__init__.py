"""``imcswav bench``: what a training step costs, counted and timed, alone or against a plain loop.

``measure`` has the figures of one step (``subject`` is what is measured, ``clock``, ``counts`` and ``shares`` measure);
``against``, ``wall`` and ``tally`` set it beside ``loop``, the frozen reference, and ``equal`` holds both to the same
results; ``suite`` runs variants and growth; ``report`` makes tables.
"""
