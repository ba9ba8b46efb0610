"""The relayer: stateless front ends that verify, serve, sign and log relays. Start with `pipeline`."""
