"""Notifications and Web Push subscriptions over HTTP."""
