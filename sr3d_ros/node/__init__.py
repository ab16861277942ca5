"""The lifecycle node: subscriptions, a worker, publishers, services."""
