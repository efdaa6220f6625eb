"""Batched image augmentation on tensors: pure functions, parameters per sample, no host synchronisation.

Each step has a ``draw_*`` function, from uniform numbers to parameters, and a function that applies given
parameters, so that a test can hand the same parameters to Pillow. Pixel values are float in [0, 255] throughout.

Shape letters beyond the library's legend (imcswav/step.py): v crops of one image in one group, M = B·v samples,
image-major; S side of a crop; Q = S·S its pixels; J draws for one sample. A planar tensor (C, M, Q) keeps each
channel contiguous, which is what colour arithmetic wants.
"""
