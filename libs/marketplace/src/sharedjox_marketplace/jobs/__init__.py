"""The life of a freelance job."""
