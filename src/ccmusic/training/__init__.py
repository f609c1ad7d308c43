"""How the embedded model was made; needs torch."""
