"""What there is to do: the source's listing, joined with the ledger, cut into work.

selection  which objects of the source: all, a list, an S3 Inventory; by patterns
inventory  the files of an S3 Inventory
pending    what is left: that listing joined with the ledger, several stretches side by side
chunks     pieces of work that are alike in bytes
spool      chunks that wait, on disk, so that the listing may run ahead
"""
