"""The marketplace's rules, ledger and actions, without HTTP."""
