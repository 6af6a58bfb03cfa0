"""A sample Python ML API that keeps the image contract (docs/image-contract.md). Start it with `python -m mf_demo`."""
