"""How fast the operators are, against what one would write without them."""
