"""Batched image augmentation on tensors: pure functions, parameters per sample, no host synchronisation.

Each step has a function that applies given parameters and, where they are not plain numbers, a ``draw_*``
function that makes them from uniform numbers, so that a test can hand the same parameters to Pillow. Pixel
values are float in [0, 255] throughout.

Shape letters beyond the library's legend (imcswav/step.py): v crops of an image in one group, M = B·v samples,
image-major; S side of a crop; Q = S·S its pixels; J draws of a sample; K places in an order. A planar tensor
(C, M, Q) keeps each channel contiguous, which is what colour arithmetic wants.
"""
