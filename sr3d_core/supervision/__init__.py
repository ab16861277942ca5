"""What the network is told: assigners, classification and box terms, and their sum."""
