"""What becomes of detections: which are kept, who is who, messages."""
