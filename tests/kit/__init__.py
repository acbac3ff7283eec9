"""The test kit: real services on this machine, started and stopped by the tests that need them."""
