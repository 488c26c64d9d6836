"""The kinds of model, one file each."""
