"""Where a run lies, on disk or in a bucket: sessions, checkpoints, and who holds it."""
