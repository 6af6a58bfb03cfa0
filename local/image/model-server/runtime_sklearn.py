"""A model that scikit-learn made, saved with joblib or pickle. Loading such a file runs code that is in it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

Ask = Callable[[Sequence[Sequence[float]]], list[dict[str, Any]]]


def open_model(content: bytes, classes: Sequence[str], threads: int) -> Ask:
    """`classes` is empty for a model that answers with a number."""
    # Imported here, in the background thread that loads the model, so that /livez need not wait for it.
    import joblib
    import numpy as np

    # The columns are named by the API's schema, and come in the model's order.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    model = joblib.load(io.BytesIO(content))
    _limit_jobs(model, threads)

    def ask(rows: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
        table = np.asarray(rows, dtype=np.float64)
        if not classes:
            return [{"value": float(value)} for value in np.asarray(model.predict(table)).reshape(len(rows))]
        if not hasattr(model, "predict_proba"):
            return [{"label": str(label)} for label in model.predict(table)]
        return [
            {
                "label": classes[int(row.argmax())],
                "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            }
            for row in model.predict_proba(table)
        ]

    return ask


def _limit_jobs(model: Any, threads: int) -> None:
    # n_jobs=-1 means the cores of the machine, whatever the pod may use of them.
    jobs = [name for name in model.get_params(deep=True) if name.rpartition("__")[2] == "n_jobs"]
    model.set_params(**dict.fromkeys(jobs, threads))
