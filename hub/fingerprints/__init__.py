"""Banks of sealed fingerprints: ordered, relayed, withdrawn; never opened here (docs/explanation/banks.md)."""
