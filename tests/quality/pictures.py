"""Pictures like photographs: soft colours, a few hard edges, no two alike."""

import numpy as np
from PIL import Image, ImageDraw


def picture(seed, size=(256, 192)):
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(20, 220, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(soft)
    for _ in range(5):
        x, y, width, height = random.integers((0, 0, 20, 20), (200, 150, 90, 70)).tolist()
        draw.rectangle((x, y, x + width, y + height), fill=tuple(random.integers(20, 220, 3).tolist()))
    return soft
