"""Pure science: frames in, forecasts out; no keys, no network, no database."""
