"""The parquet tables: their schema, how they are read, written, checked, ranked and collected."""
