"""Fingerprints of images, titles and identifiers: pure functions of the member's own data and a group key."""
