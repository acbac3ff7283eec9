"""What every capability stands on and no capability is: database, edge, access table, clock, logs, metrics."""
