"""A hub in one file, taken while it serves, and a hub made of such a file (docs/how-to/back-up-a-hub.md)."""
