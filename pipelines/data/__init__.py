"""Labelled claims: files, versions of them, and data to try it with."""
