"""What the desk was worth and held over time: sampled, downsampled, attributed, kept. Pure but for `store`."""
