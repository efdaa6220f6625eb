"""The guide's way of running an ONNX file, on photos that have to be cut and scaled."""

import re
from pathlib import Path

import numpy as np
from PIL import Image
from test_export import model_of, needs_onnx

import imcswav

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "use_a_model_elsewhere.md"


@needs_onnx
def test_the_snippet_gives_what_imcswav_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model_of("kmeans").save(tmp_path / "run" / "model")
    imcswav.export_run("run", "onnx")
    draw = np.random.default_rng(0)
    for number, shape in enumerate([(40, 31, 3), (12, 12, 3), (25, 60, 3), (9, 10)]):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(f"{number}.png")
    names = {"paths": sorted(tmp_path.glob("*.png"))}
    (code,) = re.findall(r"```python needs=onnxruntime\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, names)
    model = imcswav.load("run", "cpu")
    # Pillow and torch may round a scaled pixel to neighbouring values
    np.testing.assert_allclose(names["features"], model.transform(names["paths"]), atol=0.02)
    np.testing.assert_allclose(names["probabilities"], model.predict_proba(names["paths"]), atol=0.01)
    assert names["names"] == [f"cluster {number}" for number in model.predict(names["paths"])]
