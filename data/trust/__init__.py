"""Whom to believe: checks in levels, drift against the others, demand as a witness, one fused temperature."""
