"""Bytes, keys, identities, budgets; nothing of energy."""
