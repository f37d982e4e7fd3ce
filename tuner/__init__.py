"""The search: Ray Tune around Ray Train around trainables.training.loop."""
