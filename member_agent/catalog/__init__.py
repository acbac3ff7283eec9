"""The member's own data: what it sells or protects, read from its files, tables and folders.

Nothing in here leaves the member. No module of this package imports the hub client or the egress types, and an
import contract keeps the hub client from importing this package, directly or through another.
"""
