"""Legs of training for a GPU that is at hand for minutes: each begins from committed weights and can be repeated."""
