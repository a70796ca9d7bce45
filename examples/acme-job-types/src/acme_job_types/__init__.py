"""Job types of Acme for jobreconciler."""
