"""The viewer: a flow, its products and its tables in a browser on the same machine."""
