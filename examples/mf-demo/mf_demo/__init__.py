"""A sample Python ML API that keeps the image contract (docs/image-contract.md). Start it with `python -m mf_demo`."""

import os

# prometheus_client looks at it as soon as it is imported, and takes an empty one for a folder.
if metrics_dir := os.environ.pop("PROMETHEUS_MULTIPROC_DIR", "").strip():
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
