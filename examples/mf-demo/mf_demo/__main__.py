"""`python -m mf_demo`. Workers import what they run from server.py: they cannot from a `__main__`."""

from .server import main

if __name__ == "__main__":
    main()
