"""How points lie in files, one module per family of formats; `cloud_file` picks one."""
