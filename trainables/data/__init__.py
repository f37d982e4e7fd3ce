"""Images: where they come from, decoded once, split the same way every time."""
