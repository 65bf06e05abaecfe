"""From raw readings of meters and weather providers to a trusted, frozen training set."""
