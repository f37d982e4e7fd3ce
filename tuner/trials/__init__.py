"""Trials: which comes next, what stops one, how one trains, what the best reach."""
