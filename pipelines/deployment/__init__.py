"""The stacks in an account: resolved, deployed, examined, taken out; and the images they name."""
