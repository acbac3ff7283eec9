"""Store against log: every object that a leaf speaks of is held against it, and what differs is named."""
