"""Classical baselines behind the interface of the networks."""
