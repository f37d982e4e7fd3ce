"""What a search writes and prints while it runs: rows, lines, W&B."""
