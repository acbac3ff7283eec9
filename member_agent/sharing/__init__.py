"""What this member shares and what it got: group keys, sealed batches, banks (docs/explanation/banks.md)."""
