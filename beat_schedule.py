"""The schedule table and the singleton guard of Celery Beat."""
