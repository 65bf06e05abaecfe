"""Stages (verbs) and stores (nouns) that compose the other rooms."""
