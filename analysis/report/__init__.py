"""Runs on one page that can be cited: python -m analysis.report."""
