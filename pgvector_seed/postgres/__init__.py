"""PostgreSQL without pgvector: connections, libpq's rules, errors, interrupts and the system catalog."""
