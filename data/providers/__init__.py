"""Weather from services that exist: asked over HTTP, believed no further than docs/providers.md says."""
