"""A model in an ONNX file, run by onnxruntime. Takes one table of numbers; answers classes, or one number a row."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

Ask = Callable[[Sequence[Sequence[float]]], list[dict[str, Any]]]


def open_model(content: bytes, classes: Sequence[str], threads: int) -> Ask:
    """`classes` is empty for a model that answers with a number."""
    # Since 1.29 the published wheels write an identifier to disk and report to their maker; read on import only.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Imported here, in the background thread that loads the model, so that /livez need not wait for it.
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Left alone, onnxruntime starts a thread for each core of the machine, whatever the pod may use of them.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads sleep; by default they spin, which eats the CPU limit.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # It writes its own lines to standard error, not as JSON; what matters also comes as an exception.
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (table,) = session.get_inputs()
    number = np.float64 if table.type == "tensor(double)" else np.float32
    scores = scores_of(session)
    labels = [output.name for output in session.get_outputs() if output.name != scores]

    def ask(rows: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
        (answers,) = session.run([scores or labels[0]], {table.name: np.asarray(rows, dtype=number)})
        if scores is None:
            return [{"label": str(label)} for label in np.asarray(answers).reshape(len(rows))]
        if isinstance(answers, list):  # the classes' names are in each answer
            answers = np.asarray([[row[name] for name in sorted(row)] for row in answers])
        if not classes:
            return [{"value": float(value)} for value in np.asarray(answers).reshape(len(rows))]
        return [
            {
                "label": classes[int(row.argmax())],
                "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            }
            for row in answers
        ]

    return ask


def scores_of(session: Any) -> str | None:
    """The output with probabilities, or with the number; None when there are labels only."""
    kinds = ("tensor(float)", "tensor(double)", "seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
    return next((output.name for output in session.get_outputs() if output.type in kinds), None)
