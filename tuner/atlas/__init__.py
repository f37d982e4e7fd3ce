"""Searches of many pipelines one after another, and their atlas: python -m tuner.atlas."""
