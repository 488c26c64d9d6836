"""The pipeline: its settings, definition, control and command line."""
