"""One config -> one trained network. Plain torch: nothing here knows Ray, Optuna or pandas."""
