"""What an execution did and whether to trust its model, as one page."""
