"""Recovery in order, behind gates, and whole however often it is killed."""
