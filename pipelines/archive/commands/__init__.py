"""What the commands beside `compress` do, one file each; `show` prints what they found."""
