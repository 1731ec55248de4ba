"""Measuring what the models do: `python -m scripts.evaluate motion`."""
