"""What hub and agents must agree on: the contract, errors, names, canonical bytes and the TLS profile.

Admission rule: only code whose difference between hub and agent would be a protocol bug, and the few manners
that both command lines share (settings, logs, output), so that who runs both learns them once.
"""
