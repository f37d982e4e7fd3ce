"""Ray started or joined, and what its nodes have and need."""
