//! Mininet harness, traffic, demo and reports: the payflow-lab command.
