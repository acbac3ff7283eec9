"""Training at the member: detectors on its own rows, in a process of their own; only arrays and metrics come out."""
