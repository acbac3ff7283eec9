"""Who is in the alliance, in what standing, and who shares with whom."""
