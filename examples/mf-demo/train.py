"""Train the demo model and export it: `python train.py` writes model/model.onnx and model/model.json.

The story: 178 bottles from one Italian region, thirteen laboratory measurements each, and the question which of
three wines is in the bottle. The data ships inside scikit-learn, so training needs no network.

The server never imports this file, nor scikit-learn. All it gets is the ONNX file and its card (model.json).
Nothing random and no time of day goes in: two trainings with the same packages give the same predictions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

NAME = "wine"
# scikit-learn only numbers the three wines; these are their names, in its order.
CLASSES = ["barolo", "grignolino", "barbera"]
SEED = 7
# Pinned: left open, a newer skl2onnx would pick an opset that the server's onnxruntime may not know.
OPSET = 17
# The exported model computes in 32-bit floats, scikit-learn in 64-bit ones.
EXPORT_TOLERANCE = 1e-5


def load_data() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Measurements, wine numbers and feature names (as JSON keys: one name holds a slash)."""
    data = load_wine()
    return data.data, data.target, [name.replace("/", "_") for name in data.feature_names]


def fit(rows: np.ndarray, labels: np.ndarray) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED)).fit(rows, labels)


def export(pipeline: Pipeline, features: list[str]) -> bytes:
    model = to_onnx(
        pipeline,
        initial_types=[("input", FloatTensorType([None, len(features)]))],
        # Plain arrays: with zipmap every answer would be a list of dictionaries.
        options={"zipmap": False},
        target_opset=OPSET,
        # Without a name the graph gets a random one, and two trainings would give two files.
        name=NAME,
    )
    return bytes(model.SerializeToString())


def answer(onnx: bytes, rows: np.ndarray) -> np.ndarray:
    """The probabilities that the exported model gives, one row per input row."""
    # Its published wheels report to their maker otherwise; read on import only.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"input": rows.astype(np.float32)})
    return np.asarray(probabilities)


def train(out: Path) -> dict[str, Any]:
    """Train, export, check the export against scikit-learn, write both files to `out`, return the card."""
    rows, labels, features = load_data()
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        rows, labels, test_size=0.25, stratify=labels, random_state=SEED
    )
    pipeline = fit(train_rows, train_labels)
    onnx = export(pipeline, features)

    expected = pipeline.predict_proba(rows)
    deviation = float(np.abs(answer(onnx, rows) - expected).max())
    if deviation > EXPORT_TOLERANCE:
        raise SystemExit(
            f"the exported model differs from scikit-learn by {deviation:.2g}, expected at most "
            f"{EXPORT_TOLERANCE:.2g}: the export is not faithful (check the versions in requirements-train.txt); "
            "nothing was written"
        )

    sample = test_rows[0]
    (sample_answer,) = answer(onnx, sample.reshape(1, -1))
    card = {
        "name": NAME,
        "description": "Tells from thirteen laboratory measurements which of three wines is in the bottle.",
        "data": f"wine recognition data as shipped in scikit-learn: {len(rows)} bottles, {len(features)} measurements",
        "features": features,
        "classes": CLASSES,
        "metrics": {
            "accuracy": round(float(accuracy_score(test_labels, pipeline.predict(test_rows))), 4),
            "log_loss": round(float(log_loss(test_labels, pipeline.predict_proba(test_rows))), 4),
            "test_rows": len(test_rows),
        },
        # The server is not ready before the model has answered this input with this answer.
        "sample": {
            "input": dict(zip(features, sample.tolist(), strict=True)),
            "label": CLASSES[int(sample_answer.argmax())],
            "probabilities": dict(zip(CLASSES, [round(p, 6) for p in sample_answer.tolist()], strict=True)),
        },
        "training": {"estimator": "StandardScaler + LogisticRegression", "seed": SEED, "opset": OPSET},
        "libraries": {name: version(name) for name in ("numpy", "onnx", "scikit-learn", "skl2onnx")},
        "sha256": hashlib.sha256(onnx).hexdigest(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(onnx)
    (out / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model and export it to ONNX.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder to write to")
    out = parser.parse_args().out
    card = train(out)
    metrics = card["metrics"]
    print(
        f"{card['name']} {card['sha256'][:12]}: accuracy {metrics['accuracy']}, log loss {metrics['log_loss']} "
        f"on {metrics['test_rows']} bottles it had not seen; written to {out}"
    )


if __name__ == "__main__":
    main()
