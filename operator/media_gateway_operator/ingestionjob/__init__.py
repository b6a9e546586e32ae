"""Reconciles IngestionJob: one Job or CronJob, its progress and its end."""
