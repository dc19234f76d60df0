"""`sharedjox`: what operators ask a running platform, and what they tell it."""
