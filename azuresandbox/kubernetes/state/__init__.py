"""The state of one cluster: its objects in the store, its roles and bindings, its tokens, its Services' addresses."""
