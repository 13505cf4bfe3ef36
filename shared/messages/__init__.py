"""Every message on the bus by family, and the table of topics: the contract between the processes."""
