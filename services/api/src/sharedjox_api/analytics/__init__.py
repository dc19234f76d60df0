"""What operators see of the platform."""
