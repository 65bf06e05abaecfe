"""Attacks, for the case study and the command line only."""
