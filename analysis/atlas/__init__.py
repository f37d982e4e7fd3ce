"""The atlas: what small networks replace, how exactly and how fast: python -m analysis.atlas."""
