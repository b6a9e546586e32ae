"""What runs reconcilers: queues, leadership, events, metrics, and carrying out plans. Knows no kind by name."""
