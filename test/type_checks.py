"""The checker of annotated shapes and types that conftest installs; an int passes as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
