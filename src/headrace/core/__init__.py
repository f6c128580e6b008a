"""Pure decisions: no I/O, no clock, no chance. Time is a number that is passed in."""
