"""What hub and agents must agree on to the byte: the contract, errors, names, canonical bytes and TLS profile.

Admission rule: only code whose difference between hub and agent would be a protocol bug.
"""
