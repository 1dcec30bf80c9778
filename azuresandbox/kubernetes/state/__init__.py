"""What one cluster remembers: its objects in the store, its rights, its tokens, its addresses.

May import `model` and the sandbox's shared modules.
"""
