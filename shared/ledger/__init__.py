"""What the desk traded and made, by execution's journal: the ledger of trades, their fills, and P&L by what they share.

`tables` reads the SQL tables of the journal; the rest is pure.
"""
