"""The web page over the tables: python -m analysis.dashboard."""
