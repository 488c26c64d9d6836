"""The desk: a small local web page for the claims team and the data team.

It speaks the API that the commands speak (AWS or the local cloud), and holds no state of its own.
"""
