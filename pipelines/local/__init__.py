"""The local cloud: the same AWS API on this machine."""
