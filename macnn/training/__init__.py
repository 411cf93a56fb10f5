"""How MA-CNN learns: part pre-training, then alternating optimisation."""
