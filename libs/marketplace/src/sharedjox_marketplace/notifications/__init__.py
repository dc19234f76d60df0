"""Stored notifications and Web Push subscriptions."""
