"""The parquet tables: their schema, how they are read, written, checked, ranked and collected."""

from analysis.tables.files import read
from analysis.tables.parameters import wide
from analysis.tables.scored import scores_at

__all__ = ["read", "scores_at", "wide"]
