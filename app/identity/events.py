"""What happens to a person's account, for rooms above that tell them of it."""

from blinker import Signal

# Sent with the session of the change, the person's id, and the words: a message id and values.
happened = Signal()
