"""Programs that measure, compare with a budget, and fail when it is missed."""
