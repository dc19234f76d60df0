"""Telling freelancers of new jobs that they have all skills for."""
