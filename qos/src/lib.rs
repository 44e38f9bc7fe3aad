//! Rates, topology, calendars, paths, admission and prices: pure functions, no IO, no clock.
