"""What no admin can do alone: proposed by one, done when another approves."""
