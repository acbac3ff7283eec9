"""The settings that no single console user changes: kept in the database, each change in the audit log."""
