"""How good the classifier is, where the parts land, and whether they stay apart."""
