"""ClickStack's collector on this machine: the real programs, a HyperDX that tells them what to do, and clients."""
