"""The model registry: versions, decisions about them, cards, and where a prediction comes from."""
