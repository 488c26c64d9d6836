"""The prediction job."""
