"""What can't work fails here; what can becomes the Plan that all else is given."""
