"""Runs the whole platform on one machine: embedded Postgres and Redis, supervised services."""
