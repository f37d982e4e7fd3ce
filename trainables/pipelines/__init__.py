"""Pipelines that networks are to replace, one file each."""
