"""Pipelines that networks are to replace: the study's, a gallery, and people's own."""
