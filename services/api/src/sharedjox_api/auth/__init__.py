"""Accounts: registering, logging in and out, sessions."""
