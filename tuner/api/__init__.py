"""Searches from Python and notebooks: `from tuner import search`."""
