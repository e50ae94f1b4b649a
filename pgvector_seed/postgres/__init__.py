"""PostgreSQL, whatever is deployed in it: connections, libpq's rules, errors, interrupts and the system catalog."""
