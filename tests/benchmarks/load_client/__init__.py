"""The load client: a C program, compiled when it is first needed, and the Python side that steers it."""
