"""Money: the ledger, wallets and transactions."""
