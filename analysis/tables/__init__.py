"""The parquet tables: their schema, how they are read, written, checked, ranked and collected."""

from analysis.tables.files import read

__all__ = ["read"]
