"""Metrics of motion: pure functions of arrays, each with its formula and unit in its docstring."""
