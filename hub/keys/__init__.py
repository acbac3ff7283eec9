"""Relays sealed group keys between members; holds nothing it could open (docs/explanation/keys.md)."""
