"""The network: points in, a box and class logits at every anchor point out."""
