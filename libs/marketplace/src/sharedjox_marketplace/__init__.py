"""The marketplace's rules, ledger and actions, without HTTP.

One folder per domain, the same file names in each: `rules` (pure), `model` (tables), `repository` (queries), `actions`
(one transaction each). `channel_rules` says who may join which real-time channel.
"""
