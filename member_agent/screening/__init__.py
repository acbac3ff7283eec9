"""Screening: a member's own listings against the banks it holds, all of it on the member's machine."""
