"""Messages of any origin become points in metres, or an error that names the field."""
