"""Signed-in users: sign-in, who is online anywhere, watchlists, authorized connections."""
