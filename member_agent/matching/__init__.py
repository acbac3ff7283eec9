"""Local indexes over the fingerprints an agent has received; nothing here talks to the network."""
