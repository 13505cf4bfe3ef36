"""What the desk traded and made, by execution's journal: trades, their fills, and P&L by what trades share.

`tables` reads the SQL tables of the journal; the rest is pure.
"""
