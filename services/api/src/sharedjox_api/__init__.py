"""REST API: accounts, jobs, wallet, channel authorization."""
