"""The parquet tables: their schema, how they are read, written, checked, ranked and collected."""

from analysis.tables.files import read
from analysis.tables.parameters import wide

__all__ = ["read", "wide"]
