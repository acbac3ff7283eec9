"""A ServerApp and a ClientApp that train nothing."""
