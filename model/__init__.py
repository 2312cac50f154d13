"""One config in, one trained network out. Plain torch, without Ray, Optuna or pandas."""
