"""Peers and physical limits that benchmarks run beside ours, as processes of their own."""
