"""Readings as they came, in Delta tables that only grow, under signed heads."""
