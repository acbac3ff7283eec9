"""The log of everything exchanged: an RFC 6962 tree that every member can recompute (docs/explanation/audit.md)."""
