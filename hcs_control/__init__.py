"""The control plane: pure fold, policy and placement; projector and store at the rim."""
