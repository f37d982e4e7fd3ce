"""What is measured and kept: typed parquet tables, accuracies, rankings. Never imports Ray."""
