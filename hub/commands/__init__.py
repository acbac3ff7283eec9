"""The commands of `alliance-hub`, one module per subject; thin: parse, call, print."""
