"""What this computer can do: checks, each with a finding and a remedy."""
