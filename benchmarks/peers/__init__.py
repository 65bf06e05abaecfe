"""Forecasters of others, run in their own environment (requirements/peers.txt): nothing here imports a room of ours."""
