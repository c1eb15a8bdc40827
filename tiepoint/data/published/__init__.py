"""Published cross-spectral patch sets, in the layouts of their authors."""
