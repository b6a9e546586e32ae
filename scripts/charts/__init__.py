"""What the charts generate from their values and from ``crds/``: run as ``python -m scripts.charts`` by ``make charts``."""
