"""Which config comes next."""
