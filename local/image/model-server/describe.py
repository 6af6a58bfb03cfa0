"""Says what a model file is, as one JSON object: `describe.py KIND FILE [SAMPLE]`, KIND is sklearn or onnx.

SAMPLE is a JSON object of feature -> number; without it the model is asked about zeros. Answers either
{"features", "classes", "answers", "sample", "library", "peakBytes", "seconds"} or {"problem", "fix"}.
Loading a file of scikit-learn runs code that is in it.
"""

from __future__ import annotations

import importlib
import io
import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any


class Unfit(Exception):
    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


OWN_SERVER = "write a server of your own for it: examples/mf-demo is meant to be copied"


def describe_sklearn(content: bytes) -> tuple[list[str], list[str], str, str]:
    import joblib
    import sklearn
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = joblib.load(io.BytesIO(content))
        except ModuleNotFoundError as error:
            raise Unfit(
                f"it needs the Python module {error.name}, which the server does not have",
                "save a model of scikit-learn's own classes, export it to ONNX, or " + OWN_SERVER,
            ) from None
        except AttributeError as error:
            raise Unfit(f"it needs code that is not in the file ({error})", OWN_SERVER) from None
    saved = next((w.message.original_sklearn_version for w in caught
                  if isinstance(w.message, InconsistentVersionWarning)), sklearn.__version__)
    if minor(saved) != minor(sklearn.__version__):
        raise Unfit(
            f"it was saved with scikit-learn {saved}, and the server has {sklearn.__version__}: "
            "between these it may answer wrongly without a word",
            f"train or save it again with scikit-learn {sklearn.__version__}, or export it to ONNX",
        )
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise Unfit(f"it holds a {type(model).__name__}, which is no model of scikit-learn", "save the fitted pipeline")
    columns = getattr(model, "n_features_in_", None)
    if columns is None:
        raise Unfit("it does not say how many inputs it takes (n_features_in_)", "fit it before it is saved")
    names = [str(name) for name in getattr(model, "feature_names_in_", unnamed(columns))]
    from sklearn.base import is_classifier

    found = getattr(model, "classes_", None)
    if is_classifier(model) and isinstance(found, list):
        raise Unfit("it answers with several labels at once", OWN_SERVER)
    classes = [str(label) for label in found] if is_classifier(model) else []
    answers = "value" if not classes else "probabilities" if hasattr(model, "predict_proba") else "label"
    return names, classes, answers, f"scikit-learn {saved}"


def describe_onnx(content: bytes) -> tuple[list[str], list[str], str, str]:
    import onnx
    import onnxruntime
    from runtime_onnx import scores_of

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Unfit(f"onnxruntime cannot load it ({first_line(error)})", "export it again") from None
    inputs = session.get_inputs()
    shapes = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
    (table, *more) = inputs
    if more or table.type not in ("tensor(float)", "tensor(double)") or len(table.shape) != 2:
        raise Unfit(f"it takes {shapes}, and the server gives one table of numbers", OWN_SERVER)
    columns = table.shape[1]
    if not isinstance(columns, int):
        raise Unfit(f"it does not say how many columns it takes ({shapes})", "export it with a fixed number of columns")
    if isinstance(table.shape[0], int):
        raise Unfit(f"it takes exactly {table.shape[0]} rows at once ({shapes})", "export it with a free first dimension")
    names = unnamed(columns)
    scores = scores_of(session)
    outputs = {output.name: output for output in session.get_outputs()}
    if scores is None:
        return names, ["a label"], "label", f"onnxruntime {onnxruntime.__version__}"
    import numpy as np

    (answer,) = session.run(
        [scores], {table.name: np.zeros((1, columns), np.float64 if "double" in table.type else np.float32)}
    )
    if isinstance(answer, list):
        return names, [str(name) for name in sorted(answer[0])], "probabilities", f"onnxruntime {onnxruntime.__version__}"
    width = int(np.asarray(answer).size)
    if width == 1:
        return names, [], "value", f"onnxruntime {onnxruntime.__version__}"
    if len(outputs) == 1 and abs(float(np.sum(answer)) - 1) > 1e-3:
        raise Unfit(f"it answers {width} numbers that are no probabilities", OWN_SERVER)
    classes = class_names(onnx.load_from_string(content)) or [str(index) for index in range(width)]
    if len(classes) != width:
        raise Unfit(f"it names {len(classes)} classes and answers {width} numbers", OWN_SERVER)
    return names, classes, "probabilities", f"onnxruntime {onnxruntime.__version__}"


def class_names(model: Any) -> list[str]:
    """The exporter of scikit-learn writes them into the classifier's node."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "classlabels_int64s"):
                labels = [label.decode() for label in attribute.strings] or [str(label) for label in attribute.ints]
                if labels:
                    return labels
    return []


def unnamed(count: int) -> list[str]:
    return [f"x{index}" for index in range(count)]


def minor(version: str) -> list[str]:
    return version.split(".")[:2]


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def sample_input(names: list[str], text: str) -> dict[str, float]:
    """What the model is asked, by the names of its inputs: its own, else those of the sample, else x0, x1, …"""
    if not text:
        return dict.fromkeys(names, 0.0)
    given = json.loads(text)
    given = given.get("inputs", given) if isinstance(given, dict) else given
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        given = given[0]
    if isinstance(given, dict) and names == unnamed(len(given)):
        names = list(given)
    if isinstance(given, list):
        given = dict(zip(names, given, strict=False)) if len(given) == len(names) else given
    if not isinstance(given, dict):
        raise Unfit("the sample is neither an object of feature: number nor a list of as many numbers as there are",
                    f"the features are {', '.join(names)}")
    missing = [name for name in names if name not in given]
    unknown = [name for name in given if name not in names]
    wrong = [name for name, value in given.items() if isinstance(value, bool) or not isinstance(value, (int, float))]
    if missing or unknown or wrong:
        said = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(unknown)}"] * bool(unknown)
        said += [f"with no number for {', '.join(wrong)}"] * bool(wrong)
        raise Unfit(f"the sample is {' and '.join(said)}", f"the features are {', '.join(names)}")
    return {name: float(given[name]) for name in names}


def describe(kind: str, file: Path, sample_text: str) -> dict[str, Any]:
    content = file.read_bytes()
    began = time.perf_counter()
    try:
        names, classes, answers, library = (describe_onnx if kind == "onnx" else describe_sklearn)(content)
    except Unfit:
        raise
    except Exception as error:
        kind_name = "ONNX" if kind == "onnx" else "joblib or pickle"
        raise Unfit(f"it cannot be read as a model ({type(error).__name__}: {first_line(error)})",
                    f"the file has to be {kind_name}, as its name says") from None
    sample = sample_input(names, sample_text)
    ask = importlib.import_module(f"runtime_{kind}").open_model(content, classes, 1)
    try:
        (answer,) = ask([list(sample.values())])
    except Exception as error:
        raise Unfit(
            f"it cannot answer {'the sample' if sample_text else 'zeros'} ({type(error).__name__}: {first_line(error)})",
            "give it one good input with --sample; a model that takes text or a DataFrame needs a server of its own",
        ) from None
    return {
        "features": list(sample),
        "classes": classes,
        "answers": answers,
        "sample": {"input": sample, "answer": answer},
        "library": library,
        "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "seconds": round(time.perf_counter() - began, 2),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    kind, file, sample_text = sys.argv[1], Path(sys.argv[2]), (sys.argv[3] if len(sys.argv) > 3 else "")
    # What a model prints while it is loaded must not come between.
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        answer = describe(kind, file, sample_text)
    except Unfit as unfit:
        answer = {"problem": unfit.problem, "fix": unfit.fix}
    json.dump(answer, out)
