"""Commands of `alliance-agent` about the agent itself; a capability's commands stand in its own folder."""
