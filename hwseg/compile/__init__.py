"""Who computes what, when and where: from the integer graph to a program, a memory image and a report."""
