"""What reacts to events: standard library and boto3 only, zipped as it stands."""
