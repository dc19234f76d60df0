"""Settings, logging, metrics and connections, set up the same way in every service."""
