"""What runs inside the training and processing containers."""
